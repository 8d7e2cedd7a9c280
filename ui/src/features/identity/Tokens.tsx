import { useAction, usePages } from '@kit/api/query';
import type { Token } from '@kit/api/types';
import { useFormat } from '@kit/format';
import { useText } from '@kit/i18n';
import { DataTable } from '@kit/ui/DataTable';
import { Confirm } from '@kit/ui/Dialog';
import { KeyIcon, PlusIcon } from '@kit/ui/icons';
import { PageHead } from '@kit/ui/Section';
import { Bones, Empty, LoadFailed } from '@kit/ui/States';
import { Button } from '@mantine/core';
import { useState } from 'react';
import { deleteToken, getTokens } from './api';
import { CreateToken } from './CreateToken';
import classes from './Tokens.module.css';

export const tokensKey = ['tokens'];

/** The person's API tokens. */
export function Tokens() {
  const t = useText();
  const format = useFormat();
  const { items, error, refetch, more, loadMore, loadingMore } = usePages<Token>(tokensKey, getTokens);
  const [creating, setCreating] = useState(false);
  const [revoking, setRevoking] = useState<Token>();
  const revoke = useAction((token: Token) => deleteToken(token.id), {
    stale: [tokensKey],
    success: t('identity:tokens.revoked'),
    quiet: true,
    onSuccess: () => setRevoking(undefined),
  });
  return (
    <>
      <PageHead
        title={t('identity:tokens.title')}
        lead={t('identity:tokens.lead')}
        actions={
          <Button leftSection={<PlusIcon />} onClick={() => setCreating(true)}>
            {t('identity:tokens.create')}
          </Button>
        }
      />
      <div className={classes.surface}>
        {error && !items && <LoadFailed problem={error} retry={refetch} />}
        {!error && !items && <Bones rows={3} height={48} />}
        {items?.length === 0 && (
          <Empty
            icon={<KeyIcon size={26} />}
            title={t('identity:tokens.empty')}
            hint={t('identity:tokens.emptyHint')}
          />
        )}
        {items && items.length > 0 && (
          <DataTable
            label={t('identity:tokens.title')}
            rows={items}
            rowKey={(token) => token.id}
            columns={[
              {
                label: t('identity:tokens.name'),
                cell: (token) => (
                  <>
                    <strong>{token.name}</strong> <code className={classes.code}>{token.prefix}…</code>
                  </>
                ),
              },
              {
                label: t('identity:tokens.created'),
                cell: (token) => <span className={classes.dim}>{format.dateTime(token.created_at)}</span>,
              },
              {
                label: t('identity:tokens.lastUsed'),
                cell: (token) => (
                  <span className={classes.dim}>
                    {token.last_used_at ? format.dateTime(token.last_used_at) : t('identity:tokens.notUsed')}
                  </span>
                ),
              },
              {
                label: t('identity:tokens.expires'),
                cell: (token) => (
                  <span className={classes.dim}>
                    {token.expires_at ? format.dateTime(token.expires_at) : t('identity:tokens.never')}
                  </span>
                ),
              },
              {
                label: t('common:table.actions'),
                actions: true,
                cell: (token) => (
                  <Button
                    size="xs"
                    variant="default"
                    aria-label={`${t('identity:tokens.revoke')}: ${token.name}`}
                    onClick={() => setRevoking(token)}
                  >
                    {t('identity:tokens.revoke')}
                  </Button>
                ),
              },
            ]}
          />
        )}
      </div>
      {more && (
        <Button variant="default" mt="md" onClick={loadMore} loading={loadingMore}>
          {t('common:action.more')}
        </Button>
      )}
      {creating && <CreateToken onClose={() => setCreating(false)} />}
      {revoking && (
        <Confirm
          title={t('identity:tokens.revokeTitle', { name: revoking.name })}
          hint={t('identity:tokens.revokeHint')}
          confirm={t('identity:tokens.revoke')}
          danger
          busy={revoke.isPending}
          problem={revoke.error}
          onConfirm={() => revoke.mutate(revoking)}
          onClose={() => setRevoking(undefined)}
        />
      )}
    </>
  );
}
