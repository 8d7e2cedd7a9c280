import { useText } from '@kit/i18n';
import { signIn } from './api';
import { DoorForm, DoorFrame, EmailField, PasswordField } from './DoorFrame';
import classes from './DoorFrame.module.css';
import { field, secret, useSetup, useSubmit } from './useSetup';

/** The door for those who have an account. */
export function SignIn({ done }: { done: () => void }) {
  const t = useText();
  const setup = useSetup();
  const { problem, busy, submit } = useSubmit(
    (form) => signIn({ email: field(form, 'email'), password: secret(form, 'password') }),
    done,
  );
  return (
    <DoorFrame title={t('identity:signIn.title')}>
      {setup?.pending && <p className={classes.notice}>{t('identity:signIn.waiting')}</p>}
      <DoorForm submit={submit} busy={busy} problem={problem} label={t('identity:signIn.submit')}>
        <EmailField />
        <PasswordField />
      </DoorForm>
      <p className={classes.foot} style={{ minHeight: '1.5em' }}>
        {setup?.registration === 'open' && !setup.pending && (
          <>
            {t('identity:signIn.noAccount')} <a href={`/register${location.search}`}>{t('identity:signIn.register')}</a>
          </>
        )}
        {setup?.registration === 'invite' && !setup.pending && t('identity:signIn.invite')}
      </p>
    </DoorFrame>
  );
}
