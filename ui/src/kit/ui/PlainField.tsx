import { type ComponentPropsWithRef, useId, useState } from 'react';
import { useText } from '../i18n';
import classes from './PlainField.module.css';

type FieldProps = { label: string; hint?: string } & ComponentPropsWithRef<'input'>;

/** A text field without the component library: the doors weigh less than half without it. */
export function PlainField({ label, hint, ...input }: FieldProps) {
  const id = useId();
  return (
    <div className={classes.field}>
      <label htmlFor={id}>{label}</label>
      {hint && <span id={`${id}-hint`}>{hint}</span>}
      <input {...input} id={id} aria-describedby={hint ? `${id}-hint` : undefined} />
    </div>
  );
}

/** A password field that can show what was typed. */
export function PlainPassword(props: FieldProps) {
  const t = useText();
  const [shown, setShown] = useState(false);
  return (
    <div className={classes.password}>
      <PlainField {...props} type={shown ? 'text' : 'password'} />
      <button type="button" aria-label={t('identity:field.show')} aria-pressed={shown} onClick={() => setShown(!shown)}>
        <svg
          width="18"
          height="18"
          viewBox="0 0 24 24"
          fill="none"
          stroke="currentColor"
          strokeWidth="2"
          aria-hidden="true"
        >
          <path d="M2 12s3.6-7 10-7 10 7 10 7-3.6 7-10 7-10-7-10-7z" />
          <circle cx="12" cy="12" r="3" />
          {shown && <path d="M4 4l16 16" />}
        </svg>
      </button>
    </div>
  );
}

/** The one button of a form; `busy` keeps its place and refuses a second press. */
export function PlainSubmit({ label, busy }: { label: string; busy: boolean }) {
  return (
    <button type="submit" className={classes.submit} disabled={busy} aria-busy={busy}>
      {label}
    </button>
  );
}
