// PNG files of pictures that say how they were made, as those of t2igan do (PNG, third edition). They are not asked of a
// canvas: it rounds colours where a picture is transparent, and some browsers add noise to what is read of one.

function crc32(bytes) {
  let crc = -1;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (-(crc & 1) & 0xedb88320);
  }
  return ~crc;
}

function chunk(kind, data) {
  const bytes = new Uint8Array(data.length + 12), view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  bytes.set(new TextEncoder().encode(kind), 4);
  bytes.set(data, 8);
  view.setUint32(data.length + 8, crc32(bytes.subarray(4, data.length + 8)));
  return bytes;
}

// pixels [size, size, channels], each of which becomes scale x scale; texts: iTXt chunks by keyword. -> a Blob
export async function pngFile(pixels, size, channels, scale, texts) {
  const side = size * scale, row = 1 + side * channels, rows = new Uint8Array(side * row);
  for (let y = 0; y < side; y++) {
    if (y % scale) rows[y * row] = 2; // "up": the same as the row above
    else for (let at = 0; at < row - 1; at++) {
      const x = Math.floor(at / (scale * channels)), from = ((y / scale) * size + x) * channels;
      rows[y * row + 1 + at] = pixels[from + (at % channels)];
    }
  }
  const packed = new Blob([rows]).stream().pipeThrough(new CompressionStream('deflate'));
  const header = new Uint8Array(13), view = new DataView(header.buffer);
  view.setUint32(0, side);
  view.setUint32(4, side);
  header.set([8, { 1: 0, 3: 2, 4: 6 }[channels]], 8);
  const said = Object.entries(texts).map(([key, text]) => chunk('iTXt', new TextEncoder().encode(`${key}\0\0\0\0\0${text}`)));
  const data = chunk('IDAT', new Uint8Array(await new Response(packed).arrayBuffer()));
  const parts = [Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10), chunk('IHDR', header), ...said, data, chunk('IEND', [])];
  return new Blob(parts, { type: 'image/png' });
}
