/** A line of a build's log as the server sends it. `at` is missing once the build has ended and its log was packed. */
export interface SentLine {
  build_id: string;
  at?: string;
  text: string;
}

const stamp = /^(\d{2}:\d{2}:\d{2}\.\d{3}) /;
const day = 24 * 3600 * 1000;

/**
 * When a line was said, and its text. In a packed log each line begins with its time of day in UTC instead; the day is
 * that of the build's start, or the one after when the build went past midnight.
 */
export function timed(line: SentLine, startedAt: string | null | undefined): { at: string | undefined; text: string } {
  if (line.at) return { at: line.at, text: line.text };
  const time = stamp.exec(line.text)?.[1];
  if (!time || !startedAt) return { at: undefined, text: line.text };
  const started = Date.parse(startedAt);
  const sameDay = Date.parse(`${new Date(started).toISOString().slice(0, 10)}T${time}Z`);
  // The clocks of the build server and of the panel may differ a little.
  const said = sameDay < started - day / 2 ? sameDay + day : sameDay;
  return { at: new Date(said).toISOString(), text: line.text.slice(time.length + 1) };
}
