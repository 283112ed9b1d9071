// Work that repeats while somebody looks: never in a hidden tab, never twice at a time.

/** Does `work` now and `seconds` after each end, until `signal` is aborted. `now()` does not wait. */
export function poll(seconds, work, signal) {
  let timer = 0;
  let running = null;
  let again = false;

  const turn = () => {
    clearTimeout(timer);
    if (signal.aborted) return Promise.resolve();
    if (running) {
      again = true;
      return running;
    }
    running = work().finally(() => {
      running = null;
      if (again) {
        again = false;
        turn();
      } else wait();
    });
    return running;
  };
  const wait = () => {
    clearTimeout(timer);
    if (!signal.aborted && !document.hidden) timer = setTimeout(turn, seconds * 1000);
  };
  const onVisibility = () => {
    if (!document.hidden) turn();
  };

  document.addEventListener("visibilitychange", onVisibility, { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  turn();
  return {
    now: turn,
    every(other) {
      seconds = other;
      if (!running) wait();
    },
  };
}
