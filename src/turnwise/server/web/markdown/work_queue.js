// Work that may wait, such as formulas and colours of code: done in slices, so that no frame takes long.

const SLICE_MS = 8;
const jobs = [];
let isScheduled = false;

/** Run `job` soon, after those before it. */
export function enqueue(job) {
  jobs.push(job);
  schedule();
}

function schedule() {
  if (isScheduled) return;
  isScheduled = true;
  setTimeout(run, 0);
}

function run() {
  isScheduled = false;
  const end = performance.now() + SLICE_MS;
  while (jobs.length && performance.now() < end) {
    try {
      jobs.shift()();
    } catch (error) {
      console.warn(error); // the text stays as it is
    }
  }
  if (jobs.length) requestAnimationFrame(schedule); // the browser draws in between
}
