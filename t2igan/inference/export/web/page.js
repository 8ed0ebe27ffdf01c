// The page: a caption in, pictures out. Nothing is asked of any server.

const $ = (id) => document.getElementById(id);
const MOST_SEED = 2 ** 32 - 1;
const FRAME_MS = 16; // so long it draws without a pause
const MOVED_LEVELS = 16; // of 255: a pixel that differs by this much has changed
const state = {
  model: null, texts: new Map(), caption: '', weights: [], round: 0, chosen: null, mixing: false, explaining: false,
  shown: null, // the chosen picture as it is drawn: { pixels, recipe, name }
  painter: null, // of several pictures at a time, where there is a graphics card that pays (gpu.js)
};

const say = (text) => { $('say').textContent = text; };
const number = (id) => Number($(id).value);
const pause = () => new Promise((resolve) => setTimeout(resolve));

// Puts bytes onto a canvas of the picture's own size; style sheets enlarge it.
function paint(canvas, bytes) {
  const { image_size_px: size, channels } = state.model.about, pixels = new ImageData(size, size);
  for (let i = 0; i < size * size; i++) {
    for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = bytes[i * channels + (channels === 1 ? 0 : c)];
    pixels.data[4 * i + 3] = channels === 4 ? bytes[4 * i + 3] : 255;
  }
  canvas.width = canvas.height = size;
  canvas.getContext('2d').putImageData(pixels, 0, 0);
}

// What the text encoder makes of a caption, which is kept until there is another one.
function encoded(caption) {
  if (!state.texts.has(caption)) state.texts.set(caption, state.model.networks.encode(state.model.tokenizer.encode(caption)));
  return state.texts.get(caption);
}

const guidance = () => (state.model.about.guidance ? number('guidance') : 1);

// The style of a picture of a caption whose words have weights, and what is read of it.
function styled(z, caption = state.caption, weights = state.weights) {
  const { networks } = state.model, plain = caption !== state.caption || weights.every((weight) => weight === 1);
  if (!plain) return weighted(networks, z, caption, weights, encoded, guidance());
  const text = guidance() > 0 ? encoded(caption) : networks.noCaption();
  return { style: networks.style(z, text.sentence, guidance()), text };
}

function drawn(z, ...caption) {
  const { networks, about } = state.model;
  if (about.generator.kind === 'mlp') return toBytes(networks.draw(z, encoded(caption[0] ?? state.caption), guidance()).data, about.channels);
  const { style, text } = styled(z, ...caption);
  return toBytes(networks.drawFrom(style, text).data, about.channels);
}

// Pictures of the sheet. A graphics card that fails is not asked again.
async function drawnTogether(ones) {
  if (state.painter) {
    try {
      const all = ones.map((one) => styled(noiseOf(one)));
      return await state.painter.draw(all.map(({ style }) => style), all[0].text);
    } catch {
      Object.assign(state, { painter: null, by: state.before });
    }
  }
  return ones.map((one) => drawn(noiseOf(one)));
}

// Tries a graphics card out on the pictures of the sheet, in the background.
async function tryGpu(forced) {
  const all = seeds().map((seed) => styled(noiseOf({ seed })));
  const painter = await openGpu(state.model, all.map(({ style }) => style), all[0].text, forced).catch(() => null);
  if (painter) Object.assign(state, { painter, before: state.by, by: 'WebGPU' });
}

// The noise of a picture before `variety`, by what it is: of a seed; a variation, cos(a) z + sin(a) n with a = share pi/2;
// or between two pictures, on the great circle through both, as `t2igan vary` and `t2igan mix` have them.
function pureNoise({ seed, around, from, to, share }) {
  const { z_dim } = state.model.about;
  if (from) return greatCircle(pureNoise(from), pureNoise(to), share);
  const z = noise(seed, z_dim);
  if (around === undefined) return z;
  const centre = pureNoise(around), angle = (share * Math.PI) / 2;
  return z.map((value, i) => Math.cos(angle) * centre[i] + Math.sin(angle) * value);
}

function noiseOf(one) {
  const truncation = number('variety');
  return pureNoise(one).map((value) => truncation * value);
}

function greatCircle(a, b, share) {
  const length = (z) => Math.hypot(...z), [la, lb] = [length(a), length(b)];
  const cosine = a.reduce((sum, value, i) => sum + value * b[i], 0) / (la * lb);
  const angle = Math.acos(Math.min(1, Math.max(-1, cosine))), sine = Math.sin(angle);
  const [wa, wb] = sine < 1e-4 ? [1 - share, share] : [Math.sin((1 - share) * angle) / sine, Math.sin(share * angle) / sine];
  const size = (1 - share) * la + share * lb;
  return a.map((value, i) => size * ((wa * value) / la + (wb * b[i]) / lb));
}

function named(one) {
  if (one.from) return `${Math.round(100 * one.share)} % of the way from ${named(one.from)} to ${named(one.to)}`;
  return one.around === undefined ? `seed ${one.seed}` : `a variation of ${named(one.around)}`;
}

function seeds() {
  const first = Math.min(Math.max(Math.trunc(number('seed')) || 0, 0), MOST_SEED);
  return Array.from({ length: number('count') }, (_, i) => (first + i) % (MOST_SEED + 1));
}

// Says what is wrong with the caption, or "".
function complaint(caption) {
  const { tokenizer } = state.model, tokens = tokenizer.count(caption), most = tokenizer.maxTokens - 2;
  if (!tokens) return 'Say in words what to draw.';
  return tokens > most ? `That is ${tokens} tokens, and this model reads ${most}: what comes last is left out.` : '';
}

// One picture after another, with a pause now and then in which the page answers; a newer round ends an older one.
async function fill(sheet, wanted) {
  const round = ++state.round;
  let paused = performance.now(), drawing = 0;
  while (sheet.children.length > wanted.length) sheet.lastChild.remove();
  while (sheet.children.length < wanted.length) sheet.append(tile());
  wanted.forEach((one, i) => { sheet.children[i].one = one; });
  for (let i = 0; i < wanted.length;) {
    const some = wanted.slice(i, i + (state.painter?.most ?? 1)), start = performance.now(), pictures = await drawnTogether(some);
    if (round !== state.round) return;
    drawing += performance.now() - start;
    for (const [k, one] of some.entries()) {
      const button = sheet.children[i + k];
      button.setAttribute('aria-label', `${state.caption}, ${named(one)}`);
      button.setAttribute('aria-pressed', String(state.chosen !== null && same(state.chosen, one)));
      paint(button.firstChild, pictures[k]);
    }
    i += some.length;
    if (performance.now() - paused < FRAME_MS && i < wanted.length) continue;
    await pause();
    paused = performance.now();
  }
  if (round !== state.round) return;
  const each = drawing / wanted.length;
  say([complaint(state.caption), `${each.toFixed(each < 10 ? 1 : 0)} ms a picture, ${state.by}`].filter(Boolean).join(' '));
}

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

function tile() {
  const button = document.createElement('button');
  button.type = 'button';
  button.append(document.createElement('canvas'));
  button.addEventListener('click', () => choose(button.one));
  return button;
}

function choose(one) {
  if (state.mixing && !same(one, state.chosen)) return mix(state.chosen, one);
  const other = !state.chosen || !same(one, state.chosen);
  state.chosen = one;
  $('chosen').hidden = false;
  $('about_chosen').textContent = named(one).replace(/^./, (letter) => letter.toUpperCase());
  const name = `${state.caption.replace(/[^\p{L}\p{N}]+/gu, '_').slice(0, 60)}_${named(one).replace(/\W+/g, '_')}.png`;
  state.shown = { pixels: drawn(noiseOf(one)), recipe: recipeOf(one), name };
  paint($('large'), state.shown.pixels);
  $('large').setAttribute('aria-label', `${state.caption}, enlarged`);
  if (state.explaining && other) explain();
  for (const button of $('sheet').children) button.setAttribute('aria-pressed', String(same(button.one, one)));
}

// A word a card: the chosen picture without it, how many of its pixels are then others, and a slider for its weight.
function explain() {
  const { generator } = state.model.about, words = wordsOf(state.caption), z = noiseOf(state.chosen);
  const plain = words.map(() => 1), whole = drawn(z, state.caption, plain), channels = state.model.about.channels;
  const about = document.createElement('p');
  about.textContent = 'The chosen picture without each word, and the share of its pixels that change.';
  if (generator.kind !== 'mlp') about.textContent += ' Sliders weigh the word in all pictures.';
  const cards = words.map(({ word, start, end }, i) => {
    const without = withoutSpan(state.caption, start, end), card = document.createElement('div'), canvas = document.createElement('canvas');
    const label = document.createElement('label');
    if (state.model.tokenizer.count(without)) {
      const bytes = drawn(z, without), moved = changed(whole, bytes, channels);
      paint(canvas, bytes);
      canvas.setAttribute('role', 'img');
      canvas.setAttribute('aria-label', `${without}`);
      card.append(canvas);
      label.textContent = `${word}: ${Math.round(100 * moved)} %`;
    } else label.textContent = word;
    if (generator.kind !== 'mlp') label.append(slider(word, i));
    card.append(label);
    return card;
  });
  $('words').replaceChildren(about, ...cards);
}

function changed(one, other, channels) {
  let moved = 0;
  for (let i = 0; i < one.length; i += channels) {
    let sum = 0;
    for (let c = 0; c < channels; c++) sum += Math.abs(one[i + c] - other[i + c]);
    if (sum >= MOVED_LEVELS * channels) moved++;
  }
  return (moved * channels) / one.length;
}

function slider(word, i) {
  const input = document.createElement('input');
  input.setAttribute('aria-label', `${word}: weight`);
  Object.assign(input, { type: 'range', min: '0', max: String(MOST_WEIGHT), step: '0.1', value: String(state.weights[i]) });
  input.addEventListener('input', () => {
    state.weights[i] = Number(input.value);
    choose(state.chosen);
    fill($('sheet'), [...$('sheet').children].map((button) => button.one));
  });
  return input;
}

function setExplaining(explaining) {
  state.explaining = explaining;
  $('explain').setAttribute('aria-pressed', String(explaining));
  $('words').hidden = !explaining;
  if (explaining) explain();
}

function draw() {
  const caption = $('caption').value;
  if (caption !== state.caption) Object.assign(state, { caption, texts: new Map(), weights: wordsOf(caption).map(() => 1) });
  state.mixing = false;
  remember();
  $('variety_value').textContent = number('variety').toFixed(2);
  if (state.model.about.guidance) $('guidance_value').textContent = number('guidance').toFixed(1);
  if (!state.model.tokenizer.count(state.caption)) return say(complaint(state.caption));
  if (state.explaining) explain();
  if (state.chosen) choose(state.chosen);
  return fill($('sheet'), seeds().map((seed) => ({ seed })));
}

// The address names caption and seed, so that it can be passed on.
function remember() {
  const named = new URLSearchParams({ caption: state.caption, seed: $('seed').value });
  try {
    history.replaceState(null, '', `${location.href.split('#')[0]}#${named}`);
  } catch { /* a page inside another may not name itself */ }
}

function vary() {
  const around = state.chosen.around ?? state.chosen, share = number('share'), first = around.seed ?? 0;
  const others = Array.from({ length: number('count') }, (_, i) => (first + 7919 * (i + 1)) % (MOST_SEED + 1));
  return fill($('sheet'), others.map((seed) => ({ seed, around, share })));
}

// Frames from one picture to another of the same caption.
function mix(from, to) {
  setMixing(false);
  const last = number('count') - 1;
  return fill($('sheet'), Array.from({ length: last + 1 }, (_, i) => (i === 0 ? from : i === last ? to : { from, to, share: i / last })));
}

function setMixing(mixing) {
  state.mixing = mixing;
  $('mix').setAttribute('aria-pressed', String(mixing));
  if (mixing) say('Now choose the other picture.');
}

// How a picture is made, as t2igan writes it: a prompt and a seed, or what a variation or a frame lies between. A caption
// is read as it stands, and cut where it is too long; with weights it is a prompt, in which brackets as such are escaped.
function recipeOf(one) {
  const { caption, weights } = state, how = { ...state.model.about.recipe, truncation: number('variety'), guidance: guidance() };
  const escaped = (text) => text.replace(/[()]|\bAND\b/g, '\\$&');
  let prompt = '', end = 0;
  wordsOf(caption).forEach((word, i) => {
    const between = escaped(caption.slice(end, word.start)), said = escaped(word.word);
    prompt += between + (weights[i] === 1 ? said : `(${said}:${weights[i]})`);
    ({ end } = word);
  });
  const said = weights.every((weight) => weight === 1) ? { prompt: caption, cut_long: true } : { prompt: prompt + escaped(caption.slice(end)) };
  return { ...how, ...('share' in one ? { verb: one.from ? 'mix' : 'vary' } : {}), ...said, ...one };
}

async function download() {
  const { about } = state.model, { pixels, recipe, name } = state.shown;
  const scale = Math.max(1, Math.round(512 / about.image_size_px)), link = document.createElement('a');
  const file = await pngFile(pixels, about.image_size_px, about.channels, scale, { ...about.texts, t2igan: JSON.stringify(recipe) });
  Object.assign(link, { download: name, href: URL.createObjectURL(file) }).click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function showAbout() {
  const { about } = state.model;
  $('guidance_row').hidden = !about.guidance;
  document.body.classList.toggle('transparent', about.channels === 4);
  $('card').textContent = about.card;
  for (const caption of about.examples) {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = caption;
    button.addEventListener('click', () => { $('caption').value = caption; draw(); });
    $('examples').append(button);
  }
  const linked = new URLSearchParams(location.hash.slice(1));
  $('caption').value = linked.get('caption') || about.examples[0];
  if (/^\d+$/.test(linked.get('seed') ?? '')) $('seed').value = linked.get('seed');
}

function listen() {
  for (const id of ['caption', 'seed', 'count', 'variety', 'guidance']) $(id).addEventListener('input', draw);
  $('others').addEventListener('click', () => {
    $('seed').value = (Math.trunc(number('seed')) + number('count')) % (MOST_SEED + 1);
    draw();
  });
  $('vary').addEventListener('click', vary);
  $('mix').addEventListener('click', () => setMixing(!state.mixing));
  $('share').addEventListener('input', vary);
  $('explain').addEventListener('click', () => setExplaining(!state.explaining));
  $('download').addEventListener('click', download);
}

async function start() {
  if (typeof DecompressionStream === 'undefined') {
    return say('This browser is too old for this page: it wants Chrome 80, Safari 16.4, Firefox 113, or a newer one.');
  }
  const { maths, by } = location.hash === '#javascript' ? { maths: plainMaths, by: 'JavaScript' } : await bestMaths();
  state.model = await openModel($('data').textContent, maths);
  state.by = by;
  $('data').remove();
  const forced = location.hash === '#webgpu'; // to be tried out, whatever the card
  showAbout();
  listen();
  if (state.model.about.captioner) listenForPictures();
  await draw();
  window.ready_ms = performance.now();
  if (!state.model.about.webgpu || by !== 'WebAssembly') return;
  await tryGpu(forced);
  if (forced) await draw();
}

start().catch((error) => say(`This page cannot draw here: ${error.message}. Another browser may.`));
