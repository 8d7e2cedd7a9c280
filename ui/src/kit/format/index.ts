import { useLanguage } from '../i18n';

const units = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte'] as const;
// Binary steps under their everyday names, as every file manager shows them.
const step = 1024;

/** Ways to write numbers and moments in one language. */
export interface Format {
  bytes: (n: number) => string;
  number: (n: number) => string;
  cores: (milli: number) => string;
  percent: (share: number) => string;
  time: (at: string) => string;
  clock: (at: string) => string;
  dateTime: (at: string) => string;
  since: (at: string, now: number) => string;
  ago: (at: string, now: number) => string;
  duration: (ms: number) => string;
}

/** The formats of a language. Times are shown in the zone of the person's own machine. */
export function formatFor(language: string): Format {
  const fine = new Intl.NumberFormat(language, { maximumFractionDigits: 2 });
  const number = new Intl.NumberFormat(language, { maximumFractionDigits: 1 });
  const percent = new Intl.NumberFormat(language, { style: 'percent', maximumFractionDigits: 0 });
  const time = new Intl.DateTimeFormat(language, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
  const clock = new Intl.DateTimeFormat(language, {
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hourCycle: 'h23',
  });
  const dateTime = new Intl.DateTimeFormat(language, {
    day: 'numeric',
    month: 'short',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  });
  const relative = new Intl.RelativeTimeFormat(language, { numeric: 'auto', style: 'long' });

  const bytes = (n: number) => {
    let value = n;
    let unit = 0;
    while (value >= step && unit < units.length - 1) {
      value /= step;
      unit++;
    }
    return new Intl.NumberFormat(language, {
      style: 'unit',
      unit: units[unit],
      unitDisplay: unit === 0 ? 'long' : 'short',
      maximumFractionDigits: value < 10 ? 1 : 0,
    }).format(value);
  };
  const amount = (value: number, unit: string, digits: number) =>
    new Intl.NumberFormat(language, {
      style: 'unit',
      unit,
      unitDisplay: 'narrow',
      minimumFractionDigits: digits,
      maximumFractionDigits: digits,
    }).format(value);
  const duration = (ms: number) => {
    if (ms < 1000) return amount(Math.max(0, Math.round(ms)), 'millisecond', 0);
    const seconds = ms / 1000;
    if (seconds < 10) return amount(seconds, 'second', 1);
    if (seconds < 60) return amount(Math.floor(seconds), 'second', 0);
    const minutes = Math.floor(seconds / 60);
    if (minutes < 60) return `${amount(minutes, 'minute', 0)} ${amount(Math.floor(seconds % 60), 'second', 0)}`;
    return `${amount(Math.floor(minutes / 60), 'hour', 0)} ${amount(minutes % 60, 'minute', 0)}`;
  };
  const ago = (at: string, now: number) => {
    const seconds = Math.round((Date.parse(at) - now) / 1000);
    const size = Math.abs(seconds);
    if (size < 45) return relative.format(0, 'second');
    if (size < 3600) return relative.format(Math.round(seconds / 60), 'minute');
    if (size < 86_400) return relative.format(Math.round(seconds / 3600), 'hour');
    return relative.format(Math.round(seconds / 86_400), 'day');
  };
  const sameDay = (at: string, now: number) => new Date(at).toDateString() === new Date(now).toDateString();
  return {
    bytes,
    number: (n) => number.format(n),
    cores: (milli) => fine.format(milli / 1000),
    percent: (share) => percent.format(share),
    time: (at) => time.format(new Date(at)),
    clock: (at) => clock.format(new Date(at)),
    dateTime: (at) => dateTime.format(new Date(at)),
    since: (at, now) => (sameDay(at, now) ? time : dateTime).format(new Date(at)),
    ago,
    duration,
  };
}

const made = new Map<string, Format>();

/** The formats of the language of the moment. */
export function useFormat(): Format {
  const language = useLanguage();
  let format = made.get(language);
  if (!format) {
    format = formatFor(language);
    made.set(language, format);
  }
  return format;
}
