import { Button } from '@mantine/core';
import type { ReactNode } from 'react';
import type { Problem } from '../api/problem';
import { useText } from '../i18n';
import { problemText } from '../i18n/problem';
import classes from './States.module.css';

/** A grey bar of the size of what comes; several make a sketch of the page, so that nothing jumps. */
export function Bone({ width = '100%', height = 16 }: { width?: number | string; height?: number | string }) {
  return <span className={classes.bone} style={{ width, height }} aria-hidden="true" />;
}

/** Rows of bones while a list loads. */
export function Bones({ rows = 3, height = 48 }: { rows?: number; height?: number }) {
  const t = useText();
  return (
    <div className={classes.bones} role="status" aria-label={t('common:state.loading')}>
      {Array.from({ length: rows }, (_, row) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: bones have no identity
        <Bone key={row} height={height} />
      ))}
    </div>
  );
}

interface EmptyProps {
  icon?: ReactNode;
  title: string;
  hint?: string;
  children?: ReactNode;
}

/** What stands where nothing is yet, and how to change that. */
export function Empty({ icon, title, hint, children }: EmptyProps) {
  return (
    <div className={classes.empty}>
      {icon && <span className={classes.icon}>{icon}</span>}
      <p className={classes.title}>{title}</p>
      {hint && <p className={classes.hint}>{hint}</p>}
      {children}
    </div>
  );
}

/** A failed load: gone for good (404) or worth another try. */
export function LoadFailed({ problem, retry }: { problem: Problem; retry?: () => unknown }) {
  const t = useText();
  if (problem.status === 404) return <Empty title={t('common:state.gone')} hint={t('common:state.goneHint')} />;
  return (
    <div className={classes.empty} role="alert">
      <p className={classes.title}>{t('common:state.error')}</p>
      <p className={classes.hint}>{problemText(problem)}</p>
      {problem.requestId && <p className={classes.hint}>{t('common:state.request', { id: problem.requestId })}</p>}
      {retry && (
        <Button variant="default" onClick={() => void retry()}>
          {t('common:action.tryAgain')}
        </Button>
      )}
    </div>
  );
}
