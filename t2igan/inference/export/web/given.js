// A picture that somebody gives, at the size of the model: by the steps of t2igan's decoder, with the filters and the whole
// numbers of Pillow, which it uses. Rows of the picture are asked for as they are needed, so that large ones fit.

const GIVEN_MOST = 89_478_485; // pixels, as in Python
const ART_PX = 32; // pictures up to this side keep hard edges
const ENLARGED_PX = 4096; // the largest picture that is looked at for pixels that were repeated
const REDUCED = 3; // times the size is what large pictures are first reduced to
const BITS = 22; // after the point of a filter's weights
const clipped = (value) => Math.min(255, Math.max(0, value));

const FILTERS = {
  area: { reach: 0.5, at: (x) => Number(x > -0.5 && x <= 0.5) },
  lanczos: { reach: 3, at: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

function sinc(x) {
  return x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
}

// What each of `out` values takes from a row of `inner`, whose part from `start` to `end` they show. -> [{first, weights}]
function weightsOf(filter, inner, start, end, out) {
  const scale = Math.fround(end - start) / out, stretch = Math.max(scale, 1), reach = filter.reach * stretch;
  return Array.from({ length: out }, (_, i) => {
    const centre = start + (i + 0.5) * scale, first = Math.max(0, Math.trunc(centre - reach + 0.5));
    const last = Math.min(inner, Math.trunc(centre + reach + 0.5));
    const weights = Array.from({ length: last - first }, (_, k) => filter.at((k + first - centre + 0.5) / stretch));
    const sum = weights.reduce((a, b) => a + b, 0) || 1;
    return { first, weights: weights.map((weight) => {
      const whole = (weight / sum) * 2 ** BITS;
      return Math.trunc(whole + (whole < 0 ? -0.5 : 0.5));
    }) };
  });
}

// Across, then down; what comes between is rounded to bytes. image: {data: bytes, width, height} of `channels`.
function resampled(image, filter, box, width, height, channels) {
  const across = weightsOf(filter, image.width, box[0], box[2], width), down = weightsOf(filter, image.height, box[1], box[3], height);
  const narrow = new Uint8Array(width * image.height * channels), y = new Uint8Array(width * height * channels);
  const sum = (data, from, step, weights) => {
    let total = 2 ** (BITS - 1);
    for (let k = 0, at = from; k < weights.length; k++, at += step) total += data[at] * weights[k];
    return clipped(Math.floor(total / 2 ** BITS));
  };
  for (let row = 0, to = 0; row < image.height; row++) for (const { first, weights } of across) {
    for (let c = 0; c < channels; c++) narrow[to++] = sum(image.data, (row * image.width + first) * channels + c, channels, weights);
  }
  for (let row = 0, to = 0; row < height; row++) for (let column = 0; column < width; column++) for (let c = 0; c < channels; c++) {
    const { first, weights } = down[row];
    y[to++] = sum(narrow, (first * width + column) * channels + c, width * channels, weights);
  }
  return { data: y, width, height };
}

// The nearest pixel of each.
function nearest(image, box, width, height, channels) {
  const y = new Uint8Array(width * height * channels), at = (start, end, out, i) => Math.floor(start + ((i + 0.5) * (end - start)) / out);
  for (let row = 0, to = 0; row < height; row++) for (let column = 0; column < width; column++, to += channels) {
    const from = (at(box[1], box[3], height, row) * image.width + at(box[0], box[2], width, column)) * channels;
    y.set(image.data.subarray(from, from + channels), to);
  }
  return { data: y, width, height };
}

// Means of blocks of so many pixels; smaller ones at the right and at the bottom.
function reduced(rowsOf, box, wide, high, channels) {
  const [left, top, right, bottom] = box, width = Math.ceil((right - left) / wide), height = Math.ceil((bottom - top) / high);
  const y = new Uint8Array(width * height * channels), sums = new Uint32Array(width * channels);
  for (let block = 0; block < height; block++) {
    const first = top + block * high, rows = Math.min(high, bottom - first), data = rowsOf(first, rows, left, right);
    sums.fill(0);
    for (let row = 0, at = 0; row < rows; row++) for (let column = 0; column < right - left; column++) {
      for (let c = 0, to = Math.floor(column / wide) * channels; c < channels; c++) sums[to++] += data[at++];
    }
    for (let i = 0; i < sums.length; i++) {
      const many = rows * Math.min(wide, right - left - Math.floor(i / channels) * wide);
      const factor = Math.trunc(Math.fround(2 ** 24 / many));
      y[block * sums.length + i] = Math.floor(((sums[i] + Math.floor(many / 2)) * factor) / 2 ** 24);
    }
  }
  return { data: y, width, height };
}

// The part `box` of a picture as `width` x `height` pixels. picture: {width, height, rows}; rows(first, count, left, right)
// gives bytes of `channels`.
function scaledTo(picture, box, width, height, resample, channels) {
  const wide = box[2] - box[0], high = box[3] - box[1];
  const part = ([left, top, right, bottom], rows) =>
    ({ data: rows(top, bottom - top, left, right), width: right - left, height: bottom - top });
  if (wide === width && high === height) return part(box, picture.rows);
  if (resample === 'auto') {
    const art = Math.max(wide, high) <= ART_PX;
    if (art && width % wide === 0 && height % high === 0) resample = 'nearest';
    else resample = art && width <= wide && height <= high ? 'area' : 'lanczos';
  }
  if (resample === 'nearest') return nearest(part([0, 0, picture.width, picture.height], picture.rows), box, width, height, channels);
  const rows = channels === 4 ? (...of) => premultiplied(picture.rows(...of)) : picture.rows;
  const mixed = filtered(picture, rows, part, FILTERS[resample], box, width, height, channels);
  return channels === 4 ? { ...mixed, data: straightened(mixed.data) } : mixed;
}

function filtered(picture, rows, part, filter, box, width, height, channels) {
  const scales = [(box[2] - box[0]) / width, (box[3] - box[1]) / height];
  const around = (reach) => [ // pixels beyond the box count too, as far as the filter reaches
    Math.max(0, Math.trunc(box[0] - reach * scales[0])), Math.max(0, Math.trunc(box[1] - reach * scales[1])),
    Math.min(picture.width, Math.ceil(box[2] + reach * scales[0])), Math.min(picture.height, Math.ceil(box[3] + reach * scales[1])),
  ];
  const [across, down] = scales.map((scale) => (filter === FILTERS.lanczos && Math.trunc(scale / REDUCED)) || 1);
  const safe = across > 1 || down > 1 ? around(filter.reach - 0.5) : [0, 0, picture.width, picture.height];
  const inside = box.map((side, i) => Math.fround((side - safe[i % 2]) / (i % 2 ? down : across)));
  const image = across > 1 || down > 1 ? reduced(rows, safe, across, down, channels) : part(safe, rows);
  return resampled(image, filter, inside, width, height, channels);
}

// Colours on a background, or, of four channels, black where nothing is seen.
function prepared(rgba, { channels, background }) {
  if (channels === 4) return rgba.map((level, i) => (rgba[i - (i % 4) + 3] ? level : 0));
  const y = new Uint8Array((rgba.length / 4) * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4, to += 3) {
    for (let c = 0; c < 3; c++) y[to + c] = blended(rgba[from + c], background[c], rgba[from + 3]);
  }
  return y;
}

// Colours times alpha, rounded.
function premultiplied(rgba) {
  return rgba.map((level, i) => {
    const t = level * (i % 4 === 3 ? 255 : rgba[i - (i % 4) + 3]) + 128;
    return ((t >> 8) + t) >> 8;
  });
}

function blended(level, behind, alpha) {
  if (alpha === 255) return level;
  const t = (level * alpha + behind * (255 - alpha)) * 128 + 0x4000; // as Pillow puts one picture on another
  return ((t >> 8) + t) >> 8 >> 7;
}

// A picture {width, height, rows(first, count, left, right) -> RGBA bytes} as bytes [size, size, channels] for the model.
export function fitted(picture, how) {
  const { size_px: size, channels, resize, resample, background } = how, { width, height } = picture, step = channels === 4 ? 4 : 3;
  const given = { width, height, rows: (...part) => prepared(picture.rows(...part), how) };
  const small = unrepeated(given, size, step);
  let data = small;
  if (!small && resize === 'pad') {
    const longer = Math.max(width, height), [w, h] = [width, height].map((side) => Math.max(even((size * side) / longer), 1));
    const inner = scaledTo(given, [0, 0, width, height], w, h, resample, step).data;
    const left = Math.floor((size - w) / 2), top = Math.floor((size - h) / 2);
    data = Uint8Array.from({ length: size * size * step }, (_, i) => (step === 4 ? 0 : background[i % 3]));
    for (let row = 0; row < h; row++) data.set(inner.subarray(row * w * step, (row + 1) * w * step), ((top + row) * size + left) * step);
  } else if (!small) {
    const side = Math.min(width, height), left = Math.floor((width - side) / 2), top = Math.floor((height - side) / 2);
    const box = resize === 'stretch' ? [0, 0, width, height] : [left, top, left + side, top + side];
    data = scaledTo(given, box, size, size, resample, step).data;
  }
  return channels === 1 ? Uint8Array.from({ length: size * size }, (_, i) => grey(...data.subarray(3 * i, 3 * i + 3))) : data;
}

// Half to even, as Python rounds.
const even = (value) => (value % 1 === 0.5 ? 2 * Math.round(value / 2) : Math.round(value));
const grey = (red, green, blue) => (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;

// Of colours times alpha the colours.
function straightened(data) {
  return data.map((level, i) => {
    const alpha = data[i - (i % 4) + 3];
    return i % 4 === 3 ? level : alpha ? Math.min(255, even((level * 255) / alpha)) : 0;
  });
}

// The pixels that were repeated, where all blocks of a square picture are of one colour: null of any other.
function unrepeated({ width, height, rows }, size, channels) {
  const factor = width / size;
  if (width !== height || width % size || factor < 2 || width > ENLARGED_PX) return null;
  const y = new Uint8Array(size * size * channels), row = width * channels;
  for (let block = 0; block < size; block++) {
    const data = rows(block * factor, factor, 0, width);
    for (let i = 0; i < data.length; i++) {
      const column = Math.floor((i % row) / (factor * channels)), c = i % channels;
      if (data[i] !== data[column * factor * channels + c]) return null;
      y[(block * size + column) * channels + c] = data[i];
    }
  }
  return y;
}

// A file as such a picture: upright and in sRGB, as the browser opens it.
export async function opened(file) {
  const bitmap = await createImageBitmap(file, { imageOrientation: 'from-image', premultiplyAlpha: 'none' });
  const { width, height } = bitmap;
  if (width * height > GIVEN_MOST) throw new RangeError(`${width} x ${height} pixels are too many`);
  const canvas = document.createElement('canvas'), context = canvas.getContext('2d', { willReadFrequently: true });
  const rows = (first, count, left, right) => {
    Object.assign(canvas, { width: right - left, height: count }); // which also clears it
    context.drawImage(bitmap, left, first, right - left, count, 0, 0, right - left, count);
    return context.getImageData(0, 0, right - left, count).data;
  };
  return { width, height, rows, close: () => bitmap.close() };
}
