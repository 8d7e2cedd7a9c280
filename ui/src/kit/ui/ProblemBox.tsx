import type { Problem } from '../api/problem';
import { problemText } from '../i18n/problem';
import classes from './ProblemBox.module.css';

/** A problem beside the form or the thing it belongs to, with every place it names. */
export function ProblemBox({ problem, id }: { problem: Problem; id?: string }) {
  return (
    <div className={classes.problem} role="alert" id={id}>
      <p>{problemText(problem)}</p>
      {problem.errors.length > 0 && (
        <ul>
          {problem.errors.map((error) => (
            <li key={`${error.location}${error.message}`}>
              {error.location && <code>{error.location}</code>} {error.message}
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}
