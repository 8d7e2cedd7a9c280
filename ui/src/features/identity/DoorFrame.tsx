import type { Problem } from '@kit/api/problem';
import { type Language, languageNames, languages, switchLanguage, useLanguage, useText } from '@kit/i18n';
import { Mark } from '@kit/ui/icons';
import { PlainField, PlainPassword, PlainSubmit } from '@kit/ui/PlainField';
import { ProblemBox } from '@kit/ui/ProblemBox';
import type { ReactNode } from 'react';
import classes from './DoorFrame.module.css';

/** What every door looks like: the sign, one card, the language below. */
export function DoorFrame({ title, lead, children }: { title: string; lead?: string; children: ReactNode }) {
  const t = useText();
  const language = useLanguage();
  return (
    <div className={classes.page}>
      <main className={classes.card}>
        <div className={classes.brand}>
          <Mark size={40} />
          <div>
            <strong>{t('common:app')}</strong>
            <span>{t('identity:tagline')}</span>
          </div>
        </div>
        <h1>{title}</h1>
        {lead && <p className={classes.lead}>{lead}</p>}
        {children}
      </main>
      <footer>
        <label className={classes.language}>
          <span>{t('identity:account.language')}</span>
          <select value={language} onChange={(event) => void switchLanguage(event.target.value as Language)}>
            {languages.map((code) => (
              <option key={code} value={code} lang={code}>
                {languageNames[code]}
              </option>
            ))}
          </select>
        </label>
      </footer>
    </div>
  );
}

interface DoorFormProps {
  submit: (form: FormData) => Promise<void>;
  busy: boolean;
  problem: Problem | undefined;
  label: string;
  children: ReactNode;
}

/** The form of a door. */
export function DoorForm({ submit, busy, problem, label, children }: DoorFormProps) {
  return (
    <form
      className={classes.form}
      onSubmit={(event) => {
        event.preventDefault();
        void submit(new FormData(event.currentTarget));
      }}
    >
      {children}
      {problem && <ProblemBox problem={problem} />}
      <PlainSubmit label={label} busy={busy} />
    </form>
  );
}

export function NameField() {
  const t = useText();
  return <PlainField name="name" label={t('identity:field.name')} autoComplete="name" required maxLength={100} />;
}

export function EmailField() {
  const t = useText();
  return (
    <PlainField
      name="email"
      type="email"
      label={t('identity:field.email')}
      autoComplete="username"
      required
      maxLength={254}
    />
  );
}

export const shortestPassword = 10;

export function PasswordField({ fresh }: { fresh?: boolean }) {
  const t = useText();
  return (
    <PlainPassword
      name="password"
      label={t('identity:field.password')}
      hint={fresh ? t('identity:hint.password', { count: shortestPassword }) : undefined}
      autoComplete={fresh ? 'new-password' : 'current-password'}
      required
      minLength={fresh ? shortestPassword : undefined}
      maxLength={256}
    />
  );
}
