import { useAction } from '@kit/api/query';
import type { Overrides, Service } from '@kit/api/types';
import { useText } from '@kit/i18n';
import { Dialog } from '@kit/ui/Dialog';
import '@kit/ui/moreStyles';
import { ProblemBox } from '@kit/ui/ProblemBox';
import { Button, NativeSelect, Switch, TextInput } from '@mantine/core';
import { useState } from 'react';
import { changeService, environmentKey, type Place } from './api';
import { type HealthChoice, healthFrom, lineOf } from './health';
import classes from './Services.module.css';

const megabyte = 1024 * 1024;

/** What the form says that differs from the service; only that is sent. */
export function changesOf(service: Service, form: FormData, choice: HealthChoice): Overrides {
  const changes: Overrides = {};
  const number = (name: string) => Number(form.get(name) || 0);
  const text = (name: string) => String(form.get(name) ?? '');
  const memory = Math.round(number('memory') * megabyte);
  const milli = Math.round(number('cpu') * 1000);
  if (!service.task && number('replicas') !== service.replicas) changes.replicas = number('replicas');
  if (memory !== service.memory) changes.memory = memory;
  if (milli !== service.milli_cpu) changes.milli_cpu = milli;
  const reset: NonNullable<Overrides['reset']> = [];
  if (number('port') !== service.port) {
    if (number('port') > 0) changes.port = number('port');
    else reset.push('port');
  }
  if ((form.get('public') === 'on') !== service.public) changes.public = form.get('public') === 'on';
  const health = healthFrom(choice, text('path'), text('command'), service.health);
  if (JSON.stringify(health) !== JSON.stringify(service.health)) {
    if (health) changes.health = health;
    else reset.push('health');
  }
  if (reset.length > 0) changes.reset = reset;
  return changes;
}

/** Scale and limits of one service. */
export function ServiceDialog({ service, place, onClose }: { service: Service; place: Place; onClose: () => void }) {
  const t = useText();
  const [choice, setChoice] = useState<HealthChoice>(service.health?.kind ?? 'default');
  const save = useAction((changes: Overrides) => changeService(place, service.name, changes), {
    stale: [environmentKey(place)],
    success: t('projects:service.saved', { name: service.name }),
    quiet: true,
    onSuccess: onClose,
  });
  return (
    <Dialog title={t('projects:service.title', { name: service.name })} onClose={onClose}>
      <form
        className={classes.form}
        onSubmit={(event) => {
          event.preventDefault();
          const changes = changesOf(service, new FormData(event.currentTarget), choice);
          if (Object.keys(changes).length === 0) onClose();
          else save.mutate(changes);
        }}
      >
        {!service.task && (
          <TextInput
            name="replicas"
            type="number"
            label={t('projects:service.replicas')}
            description={service.single_writer ? t('projects:services.single') : undefined}
            min={0}
            max={service.single_writer ? 1 : 100}
            defaultValue={service.replicas}
            required
          />
        )}
        <TextInput
          name="port"
          type="number"
          label={t('projects:service.port')}
          placeholder={t('projects:service.portHint')}
          min={1}
          max={65_535}
          defaultValue={service.port || ''}
        />
        <TextInput
          name="memory"
          type="number"
          label={t('projects:service.memory')}
          min={8}
          step={1}
          defaultValue={Math.round(service.memory / megabyte)}
          required
        />
        <TextInput
          name="cpu"
          type="number"
          label={t('projects:service.cpu')}
          min={0.05}
          step="any"
          defaultValue={service.milli_cpu / 1000}
          required
        />
        <NativeSelect
          className={choice === 'http' || choice === 'command' ? undefined : classes.whole}
          label={t('projects:service.health')}
          value={choice}
          onChange={(event) => setChoice(event.target.value as HealthChoice)}
          data={[
            { value: 'default', label: t('projects:service.healthDefault') },
            { value: 'http', label: t('projects:service.healthHttp') },
            { value: 'tcp', label: t('projects:service.healthTcp') },
            { value: 'command', label: t('projects:service.healthCommand') },
            { value: 'none', label: t('projects:service.healthNone') },
          ]}
        />
        {choice === 'http' && (
          <TextInput
            name="path"
            label={t('projects:service.path')}
            defaultValue={service.health?.path ?? '/'}
            required
          />
        )}
        {choice === 'command' && (
          <TextInput
            name="command"
            label={t('projects:service.command')}
            defaultValue={lineOf(service.health?.command ?? [])}
            required
          />
        )}
        {!service.task && (
          <Switch
            className={classes.whole}
            name="public"
            label={t('projects:service.public')}
            defaultChecked={service.public}
          />
        )}
        {save.error && (
          <div className={classes.whole}>
            <ProblemBox problem={save.error} />
          </div>
        )}
        <div className={classes.foot}>
          <Button variant="default" onClick={onClose}>
            {t('common:action.cancel')}
          </Button>
          <Button type="submit" loading={save.isPending}>
            {t('projects:service.save')}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
