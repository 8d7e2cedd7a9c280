import type { Environment, Health, Service } from '@kit/api/types';
import { useFormat } from '@kit/format';
import { type Translate, useText } from '@kit/i18n';
import { DataTable } from '@kit/ui/DataTable';
import { EditIcon } from '@kit/ui/icons';
import { Section } from '@kit/ui/Section';
import { Bones, Empty } from '@kit/ui/States';
import { Pill } from '@kit/ui/Status';
import { Button } from '@mantine/core';
import { useState } from 'react';
import type { Place } from './api';
import { ServiceDialog } from './ServiceDialog';
import classes from './Services.module.css';

/** What the environment consists of, and how much of each is ready. */
export function Services({ environment, place }: { environment: Environment | undefined; place: Place }) {
  const t = useText();
  const format = useFormat();
  const [editing, setEditing] = useState<string>();
  const services = environment?.services ?? [];
  const edited = services.find((service) => service.name === editing);
  return (
    <Section title={t('projects:services.title')} flush>
      {!environment && <Bones rows={2} height={52} />}
      {environment && services.length === 0 && (
        <Empty title={t('projects:services.empty')} hint={t('projects:services.emptyHint')} />
      )}
      {services.length > 0 && (
        <DataTable
          label={t('projects:services.title')}
          rows={services}
          rowKey={(service) => service.name}
          columns={[
            { label: t('projects:services.name'), cell: (service) => <Named service={service} /> },
            {
              label: t('projects:services.replicas'),
              cell: (service) => <Replicas service={service} stopped={environment?.wanted === 'stopped'} />,
            },
            {
              label: t('projects:services.limits'),
              cell: (service) => (
                <span className={classes.dim}>
                  {format.bytes(service.memory)} ·{' '}
                  {t('projects:services.cores', {
                    count: service.milli_cpu / 1000,
                    value: format.cores(service.milli_cpu),
                  })}
                </span>
              ),
            },
            {
              label: t('projects:services.port'),
              cell: (service) => <span className={classes.dim}>{portText(service, t)}</span>,
            },
            {
              label: t('projects:services.health'),
              cell: (service) => (
                <span className={classes.dim}>{healthText(service.health, t('projects:service.healthDefault'))}</span>
              ),
            },
            {
              label: t('common:table.actions'),
              actions: true,
              cell: (service) => (
                <Button
                  size="xs"
                  variant="default"
                  leftSection={<EditIcon size={13} />}
                  aria-label={t('projects:services.edit', { name: service.name })}
                  onClick={() => setEditing(service.name)}
                >
                  {t('projects:services.editShort')}
                </Button>
              ),
            },
          ]}
        />
      )}
      {edited && <ServiceDialog service={edited} place={place} onClose={() => setEditing(undefined)} />}
    </Section>
  );
}

function Named({ service }: { service: Service }) {
  const t = useText();
  return (
    <div className={classes.named}>
      <span className={classes.name}>
        <strong>{service.name}</strong>
        {service.public && <Pill tone="busy">{t('projects:services.public')}</Pill>}
        {service.task && <Pill tone="calm">{t('projects:services.task')}</Pill>}
      </span>
      <span className={classes.image}>{service.build ? t('projects:services.built') : service.image}</span>
      {service.single_writer && <span className={classes.image}>{t('projects:services.single')}</span>}
    </div>
  );
}

function Replicas({ service, stopped }: { service: Service; stopped: boolean }) {
  const t = useText();
  if (service.task) return <span className={classes.dim}>–</span>;
  const full = service.ready >= service.replicas;
  return (
    <Pill tone={stopped ? 'calm' : full ? 'good' : service.ready > 0 ? 'doubt' : 'busy'}>
      {t('projects:services.ready', { ready: service.ready, replicas: service.replicas })}
    </Pill>
  );
}

function portText(service: Service, t: Translate): string {
  if (service.port > 0) return String(service.port);
  if (service.detected_port) return t('projects:services.portDetected', { port: service.detected_port });
  return t('projects:services.portAuto');
}

function healthText(health: Health | null, standard: string): string {
  if (!health) return standard;
  if (health.kind === 'http') return `HTTP ${health.path ?? '/'}`;
  if (health.kind === 'command') return (health.command ?? []).join(' ');
  return health.kind.toUpperCase();
}
