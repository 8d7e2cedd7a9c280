import { currentLanguage, useText } from '@kit/i18n';
import { register } from './api';
import { DoorForm, DoorFrame, EmailField, NameField, PasswordField } from './DoorFrame';
import classes from './DoorFrame.module.css';
import { field, secret, useSetup, useSubmit } from './useSetup';

/** The door for newcomers: open to everyone, or to who brings an invitation. */
export function Register({ done }: { done: () => void }) {
  const t = useText();
  const setup = useSetup();
  // After the #, the secret reaches no server's log.
  const invitation = location.hash.slice(1) || undefined;
  const { problem, busy, submit } = useSubmit(
    (form) =>
      register({
        name: field(form, 'name'),
        email: field(form, 'email'),
        password: secret(form, 'password'),
        locale: currentLanguage(),
        invitation,
      }),
    done,
  );
  const closed = setup?.registration === 'closed' || (setup?.registration === 'invite' && !invitation);
  return (
    <DoorFrame title={t('identity:register.title')}>
      {closed ? (
        <p className={classes.notice}>
          {setup.registration === 'closed' ? t('identity:register.closed') : t('identity:register.invite')}
        </p>
      ) : (
        <DoorForm submit={submit} busy={busy} problem={problem} label={t('identity:register.submit')}>
          <NameField />
          <EmailField />
          <PasswordField fresh />
        </DoorForm>
      )}
      <p className={classes.foot}>
        {t('identity:register.haveAccount')} <a href={`/sign-in${location.search}`}>{t('identity:register.signIn')}</a>
      </p>
    </DoorFrame>
  );
}
