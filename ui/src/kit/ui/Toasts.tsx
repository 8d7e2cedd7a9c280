import { useText } from '../i18n';
import { problemText } from '../i18n/problem';
import { AlertIcon, CheckIcon, CloseIcon } from './icons';
import classes from './Toasts.module.css';
import { dismiss, useToasts } from './toasts';

/** The corner where sayings appear; a live region, so that they are read out as well. */
export function Toasts() {
  const t = useText();
  const toasts = useToasts();
  return (
    <div className={classes.corner} aria-live="polite" role="status">
      {toasts.map((toast) => (
        <div key={toast.id} className={classes.toast} data-tone={toast.tone}>
          {toast.tone === 'good' ? <CheckIcon /> : <AlertIcon />}
          <span>{toast.tone === 'good' ? toast.text : problemText(toast.problem)}</span>
          <button type="button" aria-label={t('common:action.dismiss')} onClick={() => dismiss(toast.id)}>
            <CloseIcon size={14} />
          </button>
        </div>
      ))}
    </div>
  );
}
