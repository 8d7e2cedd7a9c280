import type { DeploymentError } from '@kit/api/types';
import { useText } from '@kit/i18n';
import { advice, toldExactly } from '@kit/i18n/problem';
import { AlertIcon } from '@kit/ui/icons';
import { plain } from '@kit/ui/loglines';
import type { ReactNode } from 'react';
import classes from './ErrorBox.module.css';

/** Why it failed, where, its last words, what to do. The children are the ways out. */
export function ErrorBox({ error, children }: { error: DeploymentError; children?: ReactNode }) {
  const t = useText();
  const hint = advice(error);
  const lines = error.last_lines ?? [];
  const title = toldExactly(error);
  return (
    <div className={classes.box} role="alert">
      <div className={classes.head}>
        <AlertIcon size={20} />
        <div>
          <strong>{title}</strong>
          {error.service && <span>{t('deployments:page.failedIn', { name: error.service })}</span>}
          {error.message && error.message !== title && <span className={classes.detail}>{error.message}</span>}
        </div>
      </div>
      {hint && (
        <p className={classes.hint}>
          <span className={classes.label}>{t('deployments:page.whatToDo')}</span> {hint}
        </p>
      )}
      {lines.length > 0 && (
        <div>
          <p className={classes.label}>{t('deployments:page.lastLines')}</p>
          <pre tabIndex={0}>{lines.map(plain).join('\n')}</pre>
        </div>
      )}
      {children}
    </div>
  );
}
