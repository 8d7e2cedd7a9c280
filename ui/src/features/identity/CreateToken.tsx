import { useAction } from '@kit/api/query';
import { useText } from '@kit/i18n';
import { CopyField } from '@kit/ui/Copy';
import { Dialog } from '@kit/ui/Dialog';
import { ProblemBox } from '@kit/ui/ProblemBox';
import { Button, NativeSelect, TextInput } from '@mantine/core';
import { useState } from 'react';
import { createToken } from './api';
import classes from './Tokens.module.css';

const lifetimes = [30, 90, 365];

/** Makes a token and shows it, this once. */
export function CreateToken({ onClose }: { onClose: () => void }) {
  const t = useText();
  const [name, setName] = useState('');
  const [days, setDays] = useState('90');
  const create = useAction(
    () => createToken({ name: name.trim(), scopes: ['*'], days: days === '' ? undefined : Number(days) }),
    { stale: [['tokens']], quiet: true },
  );
  return (
    <Dialog title={t('identity:tokens.create')} onClose={onClose}>
      {create.data ? (
        <div className={classes.body}>
          <p>{t('identity:tokens.once')}</p>
          <CopyField value={create.data.secret} label={t('identity:tokens.token')} />
          <div className={classes.foot}>
            <Button onClick={onClose}>{t('identity:tokens.done')}</Button>
          </div>
        </div>
      ) : (
        <form
          className={classes.body}
          onSubmit={(event) => {
            event.preventDefault();
            create.mutate();
          }}
        >
          <TextInput
            label={t('identity:tokens.name')}
            placeholder={t('identity:tokens.namePlaceholder')}
            value={name}
            onChange={(event) => setName(event.target.value)}
            required
            maxLength={100}
            autoFocus
            autoComplete="off"
          />
          <NativeSelect
            label={t('identity:tokens.expires')}
            value={days}
            onChange={(event) => setDays(event.target.value)}
            data={[
              ...lifetimes.map((count) => ({ value: String(count), label: t('identity:tokens.days', { count }) })),
              { value: '', label: t('identity:tokens.never') },
            ]}
          />
          {create.error && <ProblemBox problem={create.error} />}
          <div className={classes.foot}>
            <Button variant="default" onClick={onClose}>
              {t('common:action.cancel')}
            </Button>
            <Button type="submit" loading={create.isPending} disabled={!name.trim()}>
              {t('common:action.create')}
            </Button>
          </div>
        </form>
      )}
    </Dialog>
  );
}
