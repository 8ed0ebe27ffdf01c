// What the page says, in English and Chinese.

const STRINGS = {
  en: {
    skip: "To the caption",
    studio: "studio",
    model: "Model",
    about: "About the model",
    language: "中文",
    theme: "Light, dark or as the system",
    caption: "What shall be drawn?",
    placeholder: "A caption, in the words the model has learned",
    draw: "Draw",
    suggestions: "Suggestions",
    settings: "Settings",
    number: "Pictures",
    variety: "Variety",
    typical: "typical",
    varied: "varied",
    guidance: "Guidance",
    free: "free",
    literal: "literal",
    seed: "Seed",
    dice: "Other seeds",
    pictures: "Pictures",
    share: "Copy link",
    shared: "The link is copied: it draws these very pictures.",
    shareFailed: "The browser does not let the page copy. The link is in the address bar.",
    all: "Download all",
    hint: "Drop a picture of this studio anywhere to get its settings back.",
    shelf: "Kept in this browser",
    history: "History",
    favourites: "Favourites",
    noHistory: "What you draw is kept here, in this browser only.",
    noFavourites: "Open a picture and press the heart to keep it here.",
    clear: "Clear the history",
    clearSure: "Press again to clear",
    restore: "Get back “{caption}”, {num} pictures",
    remove: "Remove “{caption}” from the history",
    previous: "Picture before",
    next: "Next picture",
    favourite: "Favourite",
    similar: "More from this seed",
    vary: "Variations",
    edit: "Change the picture",
    editCaption: "Another caption for this picture",
    working: "Working on it. What the caption does not change stays as it is.",
    varied1: "{num} variations of “{caption}”",
    edited: "The picture, changed to “{caption}”",
    metaMade: "{model}",
    size: "Size of the file",
    download: "Download",
    close: "Close",
    open: "Enlarge: {caption}, seed {seed}",
    picture: "{caption}, seed {seed}",
    meta: "seed {seed} · variety {variety} · {model}",
    drawn: "{num} pictures of “{caption}”",
    keyTitle: "This studio wants a key",
    keyText: "Whoever runs it can give you one. It stays in this browser.",
    key: "Key",
    keyUse: "Go on",
    drop: "Let go to get its settings back",
    unseen: "The model has never seen {words}, so it will guess.",
    rare: "{words}: rare or new to the model, so it may guess.",
    and: " and ",
    restored: "The picture's settings are back.",
    otherModel: "That picture is by a model that is not here; its caption and seed are back.",
    noRecipe: "That file holds no settings: it is no PNG that this studio or `t2igan sample` wrote.",
    away: "The server does not answer. Nothing is lost; trying again …",
    busy: "The server is busy; trying again …",
    failed: "That did not work: {message}",
    minutesAgo: "{n} min ago",
    hoursAgo: "{n} h ago",
    justNow: "just now",
    noCard: "This model has no card.",
    facts: "Draws {px} × {px} pixels · captions of up to {tokens} tokens · weights {digest}",
    wordsKnown: "Words that it has learned",
  },
  zh: {
    skip: "跳到描述",
    studio: "画室",
    model: "模型",
    about: "关于模型",
    language: "English",
    theme: "浅色、深色或跟随系统",
    caption: "想画什么？",
    placeholder: "用模型学过的词写一句描述",
    draw: "画",
    suggestions: "建议",
    settings: "设置",
    number: "张数",
    variety: "变化",
    typical: "典型",
    varied: "多样",
    guidance: "贴合度",
    free: "自由",
    literal: "贴合",
    seed: "种子",
    dice: "换一批种子",
    pictures: "图片",
    share: "复制链接",
    shared: "链接已复制，打开它会画出同样的图片。",
    shareFailed: "浏览器不允许复制；链接就在地址栏里。",
    all: "全部下载",
    hint: "把本画室的图片拖到页面任意位置，即可恢复它的设置。",
    shelf: "保存在此浏览器中",
    history: "历史",
    favourites: "收藏",
    noHistory: "你画的内容会保存在这里，仅限此浏览器。",
    noFavourites: "打开一张图片并点按心形，即可收藏到这里。",
    clear: "清空历史",
    clearSure: "再按一次以清空",
    restore: "恢复“{caption}”，{num} 张",
    remove: "从历史中删除“{caption}”",
    previous: "上一张",
    next: "下一张",
    favourite: "收藏",
    similar: "从这个种子继续",
    vary: "变体",
    edit: "修改图片",
    editCaption: "这张图片的新描述",
    working: "正在处理。描述没有改变的部分会保持原样。",
    varied1: "“{caption}”的 {num} 个变体",
    edited: "图片已改为“{caption}”",
    metaMade: "{model}",
    size: "文件尺寸",
    download: "下载",
    close: "关闭",
    open: "放大：{caption}，种子 {seed}",
    picture: "{caption}，种子 {seed}",
    meta: "种子 {seed} · 变化 {variety} · {model}",
    drawn: "“{caption}”，{num} 张图片",
    keyTitle: "这个画室需要密钥",
    keyText: "请向管理员索取。密钥只保存在此浏览器中。",
    key: "密钥",
    keyUse: "继续",
    drop: "松开即可恢复设置",
    unseen: "模型从未见过{words}，只能猜测。",
    rare: "{words}对模型来说罕见或陌生，它可能会猜测。",
    and: "和",
    restored: "已恢复这张图片的设置。",
    otherModel: "这张图片出自另一个模型；已恢复它的描述和种子。",
    noRecipe: "这个文件里没有设置：它不是本画室或 `t2igan sample` 生成的 PNG。",
    away: "服务器没有响应。内容不会丢失，正在重试……",
    busy: "服务器繁忙，正在重试……",
    failed: "没有成功：{message}",
    minutesAgo: "{n} 分钟前",
    hoursAgo: "{n} 小时前",
    justNow: "刚刚",
    noCard: "这个模型没有说明卡。",
    facts: "图片 {px} × {px} 像素 · 描述最多 {tokens} 个词元 · 权重 {digest}",
    wordsKnown: "它学过的词",
  },
};

let language = "en";

/** Returns the text of that name in the language of the page, with {names} filled in. */
export function say(name, values = {}) {
  const text = STRINGS[language][name] ?? STRINGS.en[name] ?? name;
  return text.replace(/\{(\w+)\}/g, (whole, key) => (key in values ? String(values[key]) : whole));
}

/** Returns words as a person lists them, in quotes. */
export function listed(words) {
  const quoted = words.map((word) => `“${word}”`);
  if (quoted.length < 2) return quoted.join("");
  const comma = language === "zh" ? "、" : ", ";
  return quoted.slice(0, -1).join(comma) + say("and") + quoted.at(-1);
}

export const languageNow = () => language;

/** Chooses the language and puts its words on the page. */
export function speak(chosen) {
  language = chosen in STRINGS ? chosen : "en";
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = say(element.dataset.t);
  for (const element of document.querySelectorAll("[data-t-label]")) {
    element.setAttribute("aria-label", say(element.dataset.tLabel));
    if (element.tagName === "BUTTON") element.title = say(element.dataset.tLabel);
  }
  for (const element of document.querySelectorAll("[data-t-placeholder]")) element.placeholder = say(element.dataset.tPlaceholder);
}
