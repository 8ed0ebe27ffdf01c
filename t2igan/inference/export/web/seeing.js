// What a picture shows: image tower, captioner and beam search, as `t2igan describe` has them.

const BEAMS = 4; // captions that are followed at a time
const UNLIKE = 4; // of the strangeness, which is 1 for pictures as those of the training

// The mean over blocks of 2x2 places.
function downsampled(x, size, channels) {
  const y = new Float32Array(x.length / 4), half = size / 2, down = size * channels;
  for (let row = 0, to = 0; row < half; row++) for (let column = 0; column < half; column++) {
    for (let c = 0, at = (2 * row * size + 2 * column) * channels; c < channels; c++, at++, to++) {
      y[to] = (x[at] + x[at + channels] + x[at + down] + x[at + down + channels]) / 4;
    }
  }
  return y;
}

// Patches become channels, which `unfolded` undoes.
function folded(x, size, patch, channels) {
  if (patch === 1) return x;
  const y = new Float32Array(x.length), small = size / patch;
  for (let i = 0; i < small; i++) for (let j = 0; j < small; j++) for (let a = 0; a < patch; a++) {
    const from = ((i * patch + a) * size + j * patch) * channels, wide = patch * channels;
    y.set(x.subarray(from, from + wide), ((i * small + j) * patch + a) * wide);
  }
  return y;
}

// Bytes [size, size, channels] in [-1, 1]; of four channels, colours times alpha.
function inUnit(bytes, channels) {
  const f = Math.fround;
  return Float32Array.from(bytes, (level, i) => {
    const c = i % channels;
    return f(f((channels === 4 && c < 3 ? f(level * f(bytes[i - c + 3] / 255)) : level) / 127.5) - 1);
  });
}

export class Seeing {
  constructor({ networks, tokenizer, about }) {
    Object.assign(this, { networks, tokenizer, about });
  }

  // Two convolutions that add to what they are given, whose names are so numbered.
  block(x, size, name, first) {
    const h = this.networks.conv3x3(leakyRelu(x), size, `${name}Conv_${first}`);
    return added(this.networks.conv3x3(leakyRelu(h), size, `${name}Conv_${first + 1}`), x);
  }

  // What the networks see of a picture: pixels, or the codes on which the game was played. -> {x, size, channels}
  seen(bytes) {
    const { space, image_size_px, channels } = this.about, { kind, factor, encoder, blocks } = space;
    const pixels = inUnit(bytes, channels);
    if (kind === 'pixels') return { x: pixels, size: image_size_px, channels };
    if (kind === 'patches') {
      const x = this.networks.dense(folded(pixels, image_size_px, factor, channels), 'space/analysis');
      return { x, size: image_size_px / factor, channels: space.channels };
    }
    const last = encoder.length - 1, patch = factor / 2 ** last;
    let size = image_size_px / patch, number = 0;
    let x = this.networks.conv3x3(folded(pixels, image_size_px, patch, channels), size, 'space/encoder/Conv_0');
    for (let level = last; level >= 0; level--) {
      if (level < last) {
        x = this.networks.dense(downsampled(x, size, encoder[level + 1]), `space/encoder/Dense_${last - 1 - level}`);
        size /= 2;
      }
      for (let i = 0; i < (level ? 1 : blocks); i++) x = this.block(x, size, `space/encoder/Block_${number++}/`, 0);
    }
    return { x: this.networks.dense(leakyRelu(x), `space/encoder/Dense_${last}`), size, channels: space.channels };
  }

  features(bytes) {
    const { patch_px, channels: levels, blocks } = this.about.captioner.image, tower = 'image/ResidualTower_0';
    const seen = this.seen(bytes), largestFirst = [...levels].reverse();
    let size = seen.size / patch_px, convolutions = 0;
    let x = this.networks.conv3x3(folded(seen.x, seen.size, patch_px, seen.channels), size, `${tower}/stem`);
    for (const level of largestFirst.keys()) {
      if (level) {
        x = this.networks.dense(downsampled(x, size, largestFirst[level - 1]), `${tower}/transition_${level}`);
        size /= 2;
      }
      for (let i = 0; i < blocks; i++, convolutions += 2) x = this.block(x, size, `${tower}/`, convolutions);
    }
    return this.networks.dense(leakyRelu(x), 'image/features');
  }

  // 1 = as the pictures of the training on average: the square of Mahalanobis' distance, a dimension.
  strangeness(features) {
    const mean = this.networks.of('captioner/mean');
    const white = this.networks.dense(features.map((value, i) => value - mean[i]), 'captioner/white');
    return white.reduce((sum, value) => sum + value * value, 0) / white.length;
  }

  // The log-probabilities of what comes next to each caption, of which only the last token is new: what the layers made of
  // those before is kept. told: of a layer, what it hears of the picture.
  next(captions, told, place) {
    const { networks } = this, { width, layers, heads } = this.about.captioner, d = width / heads, rows = captions.length;
    const embedding = networks.of('captioner/tokens/embedding'), positions = networks.of('captioner/positions');
    let x = new Float32Array(rows * width);
    captions.forEach(({ ids }, row) => {
      for (let c = 0; c < width; c++) x[row * width + c] = embedding[ids[place] * width + c] + positions[place * width + c];
    });
    for (let layer = 0; layer < layers; layer++) {
      for (let i = 0; i < x.length; i++) x[i] += told[layer][i % width];
      const qkv = networks.dense(networks.norm(x, width, `captioner/LayerNorm_${2 * layer + 1}`), `captioner/attention_${layer}/qkv`);
      const read = new Float32Array(rows * width);
      captions.forEach(({ kept }, row) => {
        const own = qkv.subarray(3 * width * row, 3 * width * (row + 1)), all = kept[layer];
        all.set(own, 3 * width * place);
        const part = (data, at) => ({ data, row: 3 * width, head: 3 * d, at }); // of a head: query, key, value
        read.set(networks.maths.attend(1, place + 1, heads, d, part(own, 0), part(all, d), part(all, 2 * d)), row * width);
      });
      added(x, networks.dense(read, `captioner/attention_${layer}/out`));
      const h = networks.dense(networks.norm(x, width, `captioner/LayerNorm_${2 * layer + 2}`), `captioner/in_${layer}`);
      added(x, networks.dense(networks.maths.gelu(h), `captioner/out_${layer}`));
    }
    const logits = networks.dense(networks.norm(x, width, `captioner/LayerNorm_${2 * layers + 1}`), 'captioner/logits');
    return captions.map((_, row) => logProbabilities(logits.subarray((row * logits.length) / rows, ((row + 1) * logits.length) / rows)));
  }

  // bytes: a picture at the model's size. -> {caption, confidence, strangeness, unlike}
  describe(bytes, beams = BEAMS) {
    const { width, layers, max_tokens } = this.about.captioner, features = this.features(bytes);
    const heard = this.networks.norm(features, features.length, 'captioner/LayerNorm_0');
    const told = Array.from({ length: layers }, (_, layer) => this.networks.dense(heard, `captioner/picture_${layer}`));
    const empty = () => Array.from({ length: layers }, () => new Float32Array(3 * width * max_tokens));
    let found = [{ ids: [BEGIN], score: 0, kept: empty() }];
    for (let place = 0; place + 1 < max_tokens; place++) {
      const going = found.filter(({ ids }) => ids.at(-1) !== END);
      if (!going.length) break;
      const logs = this.next(going, told, place), best = [];
      const offer = (candidate) => { // equal ones stay in their order
        let at = best.length;
        while (at && best[at - 1].score < candidate.score) at--;
        if (at < beams) best.splice(at, 0, candidate);
        if (best.length > beams) best.pop();
      };
      for (const caption of found) {
        const own = logs[going.indexOf(caption)];
        if (own) own.forEach((log, token) => offer({ caption, token, score: caption.score + log }));
        else offer({ caption, score: caption.score });
      }
      found = best.map(({ caption, token, score }) => token === undefined ? caption
        : { ids: [...caption.ids, token], score, kept: caption.kept.map((data) => data.slice()) });
    }
    const [{ ids, score }] = found, strangeness = this.strangeness(features);
    const confidence = Math.exp(score / Math.max(ids.length - 1, 1));
    return { caption: decoded(this.tokenizer, ids), confidence, strangeness, unlike: strangeness > UNLIKE };
  }
}

// The text of ids, without the marks.
function decoded({ vocab, characters }, ids) {
  const tokens = [...vocab.keys()], places = new Map([...vocab.values()].map((id, i) => [id, tokens[i]]));
  const bytes = new Map(characters.map((character, byte) => [character, byte]));
  const text = ids.filter((id) => id > END).map((id) => places.get(id)).join('');
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(Uint8Array.from(text, (one) => bytes.get(one))).trim();
}

// Neither padding nor the mark of the beginning comes next.
function logProbabilities(logits) {
  let top = -Infinity, sum = 0;
  for (let i = END; i < logits.length; i++) if (logits[i] > top) top = logits[i];
  for (let i = END; i < logits.length; i++) sum += Math.exp(logits[i] - top);
  const all = top + Math.log(sum);
  return Float64Array.from(logits, (logit, i) => (i < END ? -Infinity : logit - all));
}
