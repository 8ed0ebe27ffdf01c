// What a picture shows that somebody gives: from the button, dropped on the page, or pasted.

function listenForPictures() {
  $('picture').addEventListener('change', () => describe($('picture').files[0]));
  $('draw_described').addEventListener('click', () => {
    $('caption').value = $('draw_described').caption;
    $('caption').focus();
    draw();
  });
  const dropping = (on) => document.body.classList.toggle('dropping', on);
  document.addEventListener('dragover', (event) => {
    if (![...event.dataTransfer.types].includes('Files')) return;
    event.preventDefault();
    dropping(true);
  });
  document.addEventListener('dragleave', (event) => { if (!event.relatedTarget) dropping(false); });
  document.addEventListener('drop', (event) => {
    dropping(false);
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    describe(event.dataTransfer.files[0]);
  });
  document.addEventListener('paste', (event) => {
    const file = [...event.clipboardData.files].find(({ type }) => type.startsWith('image/'));
    if (file) describe(file);
  });
}

async function describe(file) {
  const told = (text) => { $('described').textContent = text; };
  $('seen').hidden = true;
  if (!file) return told('');
  told('Looking…');
  await pause();
  let bytes;
  try {
    const picture = await opened(file);
    bytes = fitted(picture, state.model.about.decoding);
    picture.close();
  } catch (error) {
    const reason = error instanceof RangeError ? `: ${error.message}` : '';
    return told(`${file.name} is not a picture that this browser can open${reason}. Give a PNG, JPEG, WebP or GIF file.`);
  }
  const { caption, confidence, unlike } = new Seeing(state.model).describe(bytes);
  paint($('given'), bytes);
  $('given').setAttribute('aria-label', `${file.name}, as the model sees it`);
  $('seen').hidden = false;
  $('draw_described').caption = caption;
  const strange = unlike ? '; it is unlike the pictures of the training, so that this may mean nothing' : '';
  told(`${caption} (${Math.round(100 * confidence)} % sure${strange})`);
}
