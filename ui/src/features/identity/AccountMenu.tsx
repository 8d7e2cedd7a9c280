import '@mantine/core/styles/Popover.layer.css';
import '@mantine/core/styles/Menu.layer.css';
import { chooseOrganization } from '@kit/api/client';
import type { Me } from '@kit/api/types';
import { type Language, languageNames, languages, switchLanguage, useLanguage, useText } from '@kit/i18n';
import { CheckIcon, KeyIcon } from '@kit/ui/icons';
import { type MantineColorScheme, Menu, useMantineColorScheme } from '@mantine/core';
import { useNavigate } from '@tanstack/react-router';
import { AccountButton } from './AccountButton';
import { saveLocale, signOut } from './api';
import { organizationOf } from './me';

const schemes: MantineColorScheme[] = ['light', 'dark', 'auto'];

/** Everything about the person: organization, language, appearance, the way out. */
export function AccountMenu({ me, opened, onChange }: { me: Me; opened: boolean; onChange: (open: boolean) => void }) {
  const t = useText();
  const navigate = useNavigate();
  const language = useLanguage();
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const organizations = me.organizations ?? [];
  const mark = (on: boolean) => (on ? <CheckIcon size={14} /> : <span style={{ width: 14 }} />);
  const speak = (code: Language) => {
    void switchLanguage(code);
    void saveLocale(code).catch(() => undefined);
  };
  const leave = () => {
    void signOut()
      .catch(() => undefined)
      .then(() => {
        chooseOrganization(null);
        location.assign('/sign-in');
      });
  };
  return (
    <Menu opened={opened} onChange={onChange} width={250} position="bottom-end" shadow="md" withinPortal>
      <Menu.Target>
        <AccountButton me={me} />
      </Menu.Target>
      <Menu.Dropdown mah="calc(100dvh - 80px)" style={{ overflowY: 'auto' }}>
        <Menu.Label>{me.user?.email}</Menu.Label>
        <Menu.Item leftSection={<KeyIcon size={14} />} onClick={() => void navigate({ to: '/tokens' })}>
          {t('identity:account.tokens')}
        </Menu.Item>
        {organizations.length > 1 && (
          <>
            <Menu.Divider />
            <Menu.Label>{t('identity:account.organizations')}</Menu.Label>
            {organizations.map((organization) => (
              <Menu.Item
                key={organization.id}
                leftSection={mark(organization.id === organizationOf(me)?.id)}
                aria-current={organization.id === organizationOf(me)?.id || undefined}
                onClick={() => {
                  chooseOrganization(organization.slug);
                  // Everything on the page belongs to the other organization: begin anew.
                  location.assign('/');
                }}
              >
                {organization.name}
              </Menu.Item>
            ))}
          </>
        )}
        <Menu.Divider />
        <Menu.Label>{t('identity:account.language')}</Menu.Label>
        {languages.map((code) => (
          <Menu.Item
            key={code}
            lang={code}
            leftSection={mark(code === language)}
            aria-current={code === language || undefined}
            closeMenuOnClick={false}
            onClick={() => speak(code)}
          >
            {languageNames[code]}
          </Menu.Item>
        ))}
        <Menu.Divider />
        <Menu.Label>{t('identity:account.appearance')}</Menu.Label>
        {schemes.map((scheme) => (
          <Menu.Item
            key={scheme}
            leftSection={mark(scheme === colorScheme)}
            aria-current={scheme === colorScheme || undefined}
            closeMenuOnClick={false}
            onClick={() => setColorScheme(scheme)}
          >
            {t(`identity:account.${scheme}`)}
          </Menu.Item>
        ))}
        <Menu.Divider />
        <Menu.Item onClick={leave}>{t('identity:account.signOut')}</Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
