import { currentLanguage, useText } from '@kit/i18n';
import { setUp } from './api';
import { DoorForm, DoorFrame, EmailField, NameField, PasswordField } from './DoorFrame';
import classes from './DoorFrame.module.css';
import { field, secret, useSetup, useSubmit } from './useSetup';

/** The door of the one-time link that makes the first administrator. */
export function SetUp({ done }: { done: () => void }) {
  const t = useText();
  const setup = useSetup();
  // After the #, the secret reaches no server's log.
  const token = location.hash.slice(1);
  const { problem, busy, submit } = useSubmit(
    (form) =>
      setUp({
        secret: token,
        name: field(form, 'name'),
        email: field(form, 'email'),
        password: secret(form, 'password'),
        locale: currentLanguage(),
      }),
    done,
  );
  const over = setup !== undefined && !setup.pending;
  return (
    <DoorFrame title={t('identity:setUp.title')} lead={over || !token ? undefined : t('identity:setUp.lead')}>
      {over && <p className={classes.notice}>{t('identity:setUp.done')}</p>}
      {!over && !token && <p className={classes.notice}>{t('identity:setUp.noToken')}</p>}
      {!over && token && (
        <DoorForm submit={submit} busy={busy} problem={problem} label={t('identity:setUp.submit')}>
          <NameField />
          <EmailField />
          <PasswordField fresh />
        </DoorForm>
      )}
      {over && (
        <p className={classes.foot}>
          <a href="/sign-in">{t('identity:signIn.title')}</a>
        </p>
      )}
    </DoorFrame>
  );
}
