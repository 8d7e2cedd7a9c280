import type { Me } from '@kit/api/types';
import { useText } from '@kit/i18n';
import { DownIcon } from '@kit/ui/icons';
import type { ComponentPropsWithRef } from 'react';
import classes from './AccountButton.module.css';
import { organizationOf } from './me';

/** The button of the account menu: a letter for the person, the organization's name beside it. */
export function AccountButton({ me, ...rest }: { me: Me } & ComponentPropsWithRef<'button'>) {
  const t = useText();
  const name = me.user?.name || me.user?.email || '?';
  const shown = organizationOf(me)?.name ?? name;
  return (
    <button type="button" {...rest} className={classes.button} aria-label={`${t('identity:account.menu')}: ${shown}`}>
      <span className={classes.letter} data-letter={[...name][0]?.toUpperCase()} />
      <span className={classes.name}>{shown}</span>
      <DownIcon size={14} />
    </button>
  );
}
