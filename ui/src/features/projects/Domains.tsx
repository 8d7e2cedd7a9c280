import { useAction, useData } from '@kit/api/query';
import type { Domain } from '@kit/api/types';
import { useText } from '@kit/i18n';
import { DataTable } from '@kit/ui/DataTable';
import { Confirm } from '@kit/ui/Dialog';
import { LinkIcon } from '@kit/ui/icons';
import { ProblemBox } from '@kit/ui/ProblemBox';
import { Section } from '@kit/ui/Section';
import { Bones, Empty, LoadFailed } from '@kit/ui/States';
import { Pill } from '@kit/ui/Status';
import { Button, TextInput } from '@mantine/core';
import { useState } from 'react';
import { addDomain, deleteDomain, environmentKey, getDomains, type Place, partKey } from './api';
import classes from './Domains.module.css';

/** The names that lead here, and adding one's own. */
export function Domains({ place }: { place: Place }) {
  const t = useText();
  const key = partKey(place, 'domains');
  const { data, error, refetch } = useData(key, () => getDomains(place));
  const [hostname, setHostname] = useState('');
  const [removing, setRemoving] = useState<Domain>();
  const stale = [environmentKey(place)];
  const add = useAction(() => addDomain(place, hostname.trim().toLowerCase()), {
    stale,
    success: t('projects:domains.added', { hostname }),
    quiet: true,
    onSuccess: () => setHostname(''),
  });
  const remove = useAction((domain: Domain) => deleteDomain(place, domain.id), {
    stale,
    success: t('projects:domains.removed', { hostname: removing?.hostname }),
    quiet: true,
    onSuccess: () => setRemoving(undefined),
  });
  const items = data?.items ?? [];
  return (
    <Section title={t('projects:domains.title')} lead={t('projects:domains.lead')} flush>
      <form
        className={classes.add}
        onSubmit={(event) => {
          event.preventDefault();
          add.mutate();
        }}
      >
        <TextInput
          label={t('projects:domains.hostname')}
          description={t('projects:domains.dns')}
          placeholder="www.example.com"
          value={hostname}
          onChange={(event) => setHostname(event.target.value)}
          required
          maxLength={253}
          autoComplete="off"
          spellCheck={false}
        />
        <Button type="submit" loading={add.isPending} disabled={!hostname.trim()}>
          {t('projects:domains.add')}
        </Button>
        {add.error && (
          <div className={classes.problem}>
            <ProblemBox problem={add.error} />
          </div>
        )}
      </form>
      {error && !data && <LoadFailed problem={error} retry={refetch} />}
      {!error && !data && <Bones rows={2} height={44} />}
      {data && items.length === 0 && <Empty title={t('projects:domains.empty')} />}
      {items.length > 0 && (
        <DataTable
          label={t('projects:domains.title')}
          rows={items}
          rowKey={(domain) => domain.id}
          columns={[
            {
              label: t('projects:domains.hostname'),
              wide: true,
              cell: (domain) => (
                <a className={classes.host} href={domain.url} target="_blank" rel="noreferrer">
                  {domain.hostname} <LinkIcon size={13} />
                </a>
              ),
            },
            {
              label: t('projects:domains.kind'),
              cell: (domain) => (
                <Pill tone={domain.kind === 'auto' ? 'calm' : 'good'}>{t(`projects:domains.${domain.kind}`)}</Pill>
              ),
            },
            {
              label: t('common:table.actions'),
              actions: true,
              cell: (domain) =>
                domain.kind === 'custom' && (
                  <Button
                    size="xs"
                    variant="default"
                    aria-label={`${t('common:action.remove')}: ${domain.hostname}`}
                    onClick={() => setRemoving(domain)}
                  >
                    {t('common:action.remove')}
                  </Button>
                ),
            },
          ]}
        />
      )}
      {removing && (
        <Confirm
          title={t('projects:domains.removeTitle', { hostname: removing.hostname })}
          hint={t('projects:domains.removeHint')}
          confirm={t('common:action.remove')}
          danger
          busy={remove.isPending}
          problem={remove.error}
          onConfirm={() => remove.mutate(removing)}
          onClose={() => setRemoving(undefined)}
        />
      )}
    </Section>
  );
}
