// What is kept in the browser: history and favourites, pictures included, so that nothing is lost with the server.

const MOST_RUNS = 200;
// What the disk does not take: all of it in some private windows, and whatever comes when the disk is full. It lasts as
// long as the page.
const memory = { runs: new Map(), favourites: new Map() };
let opening;

/** The database; rejects where the browser keeps nothing. */
function open() {
  opening ??= new Promise((resolve, reject) => {
    const request = indexedDB.open("t2igan-studio", 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("runs", { keyPath: "id" });
      request.result.createObjectStore("favourites", { keyPath: "id" });
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opening;
}

async function act(store, mode, action) {
  const database = await open();
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(store, mode);
    const request = action(transaction.objectStore(store));
    transaction.oncomplete = () => resolve(request.result);
    transaction.onerror = transaction.onabort = () => reject(transaction.error);
  });
}

/** Returns all of "runs" or "favourites", the latest first. */
export async function all(store) {
  const found = await act(store, "readonly", (kept) => kept.getAll()).catch(() => []);
  return [...found, ...memory[store].values()].sort((a, b) => b.time - a.time);
}

/** Keeps one; of runs, the oldest are let go. */
export async function put(store, thing) {
  await act(store, "readwrite", (kept) => kept.put(thing)).catch(() => memory[store].set(thing.id, thing));
  if (store !== "runs") return;
  for (const old of (await all("runs")).slice(MOST_RUNS)) await remove("runs", old.id);
}

export async function remove(store, id) {
  memory[store].delete(id);
  await act(store, "readwrite", (kept) => kept.delete(id)).catch(() => null); // it was in memory
}

export async function clear(store) {
  memory[store].clear();
  await act(store, "readwrite", (kept) => kept.clear()).catch(() => null);
}
