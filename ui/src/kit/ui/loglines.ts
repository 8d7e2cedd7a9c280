/** One line of any log. `source` is shown before it when several sources are mixed. */
export interface LogLine {
  at: string | undefined;
  text: string;
  source?: string;
  bad?: boolean;
}

export const mostLines = 5000;

/** A log that keeps its newest lines. A changed log is a new value, `lines` included. */
export interface Log {
  lines: LogLine[];
  dropped: number;
}

export const emptyLog: Log = { lines: [], dropped: 0 };

/** The log with further lines at its end; the oldest above `most` are dropped and counted. */
export function append(log: Log, more: LogLine[], most = mostLines): Log {
  const lines = [...log.lines, ...more];
  const over = Math.max(0, lines.length - most);
  return { lines: over > 0 ? lines.slice(over) : lines, dropped: log.dropped + over };
}

// Terminals' colour and cursor sequences: ESC [ … letter, ESC ] … BEL, and carriage returns that redraw a line.
const esc = String.fromCharCode(27);
const bell = String.fromCharCode(7);
const sequences = new RegExp(`${esc}(?:\\[[0-9;?]*[ -/]*[@-~]|\\][^${bell}]*(?:${bell}|$)|[@-Z\\\\^_])`, 'g');

/** A line as a person would have seen it on a terminal, without colours. */
export function plain(text: string): string {
  const bare = text.replace(sequences, '').replace(/\r+$/, '');
  return bare.slice(bare.lastIndexOf('\r') + 1).replaceAll('\t', '    ');
}

/** Which rows a window of `height` pixels, scrolled by `top`, shows of `count` rows, with some spare on both sides. */
export function visible(top: number, height: number, row: number, count: number, spare = 20) {
  const from = Math.max(0, Math.floor(top / row) - spare);
  const to = Math.min(count, Math.ceil((top + height) / row) + spare);
  return { from: Math.min(from, to), to };
}
