import { useAction } from '@kit/api/query';
import type { Server } from '@kit/api/types';
import { useFormat } from '@kit/format';
import { useText } from '@kit/i18n';
import { CopyField } from '@kit/ui/Copy';
import { Dialog } from '@kit/ui/Dialog';
import { ProblemBox } from '@kit/ui/ProblemBox';
import { Button, TextInput } from '@mantine/core';
import { useState } from 'react';
import { addServer, serversKey } from './api';
import classes from './ServerList.module.css';

/** Makes the one command that a new machine joins with, and waits for it. */
export function AddServer({ servers, onClose }: { servers: Server[]; onClose: () => void }) {
  const t = useText();
  const format = useFormat();
  const [name, setName] = useState('');
  const add = useAction(() => addServer(name.trim()), { stale: [serversKey], quiet: true });
  const made = add.data;
  const joined = made && servers.find((server) => server.id === made.server.id && server.knowledge === 'current');
  return (
    <Dialog title={t('servers:add.title')} onClose={onClose}>
      {made ? (
        <div className={classes.body}>
          <p>{t('servers:add.run')}</p>
          <CopyField value={made.command} label={t('servers:add.command')} />
          <p className={classes.dim}>{t('servers:add.expires', { time: format.time(made.expires_at) })}</p>
          <p role="status">
            <strong>{joined ? t('servers:add.joined', { name: joined.name }) : t('servers:add.waiting')}</strong>
          </p>
          <div className={classes.foot}>
            <Button onClick={onClose}>{t('servers:add.done')}</Button>
          </div>
        </div>
      ) : (
        <form
          className={classes.body}
          onSubmit={(event) => {
            event.preventDefault();
            add.mutate();
          }}
        >
          <TextInput
            label={t('servers:add.name')}
            placeholder={t('servers:add.namePlaceholder')}
            value={name}
            onChange={(event) => setName(event.target.value)}
            required
            maxLength={60}
            autoFocus
            autoComplete="off"
          />
          {add.error && <ProblemBox problem={add.error} />}
          <div className={classes.foot}>
            <Button variant="default" onClick={onClose}>
              {t('common:action.cancel')}
            </Button>
            <Button type="submit" loading={add.isPending} disabled={!name.trim()}>
              {t('servers:add.submit')}
            </Button>
          </div>
        </form>
      )}
    </Dialog>
  );
}
