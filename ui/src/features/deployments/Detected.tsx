import type { Note, Upload } from '@kit/api/types';
import { useText } from '@kit/i18n';
import { toldExactly } from '@kit/i18n/problem';
import { Pill } from '@kit/ui/Status';
import classes from './Detected.module.css';

/** What was found in an archive: how it will run, and what is remarkable or wrong, by file and line. */
export function DetectedBox({ detected }: { detected: Upload['detected'] }) {
  const t = useText();
  const services = detected.services ?? [];
  return (
    <div className={classes.box}>
      <div className={classes.row}>
        <Pill tone={detected.kind === 'none' ? 'bad' : 'good'}>{t(`deployments:detected.${detected.kind}`)}</Pill>
        {services.length > 0 && (
          <span className={classes.dim}>
            {t('deployments:detected.services', { count: services.length, names: services.join(', ') })}
          </span>
        )}
      </div>
      <Notes notes={detected.problems ?? []} bad />
      <Notes notes={detected.notes ?? []} />
    </div>
  );
}

/** Remarks with where they stand. One code serves many places of a file, so there only the server's sentence is exact. */
export function Notes({ notes, bad }: { notes: Note[]; bad?: boolean }) {
  if (notes.length === 0) return null;
  return (
    <ul className={classes.notes} data-bad={bad || undefined}>
      {notes.map((note) => (
        <li key={`${note.location} ${note.code} ${note.message}`}>
          {note.location && <code>{note.location}</code>} {note.location ? note.message : toldExactly(note)}
        </li>
      ))}
    </ul>
  );
}
