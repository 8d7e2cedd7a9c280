import { useAction, useData } from '@kit/api/query';
import type { Variable } from '@kit/api/types';
import { useFormat } from '@kit/format';
import { useNow } from '@kit/format/now';
import { useText } from '@kit/i18n';
import { DataTable } from '@kit/ui/DataTable';
import { Confirm } from '@kit/ui/Dialog';
import '@kit/ui/moreStyles';
import { ProblemBox } from '@kit/ui/ProblemBox';
import { Section } from '@kit/ui/Section';
import { Bones, Empty, LoadFailed } from '@kit/ui/States';
import { Pill } from '@kit/ui/Status';
import { Button, Checkbox, PasswordInput, TextInput } from '@mantine/core';
import { useState } from 'react';
import { changeVariables, getVariables, type Place, partKey, type VariablesChange } from './api';
import { variableName } from './dotenv';
import { PasteDialog } from './PasteDialog';
import classes from './Variables.module.css';

/** The names of the variables; values are set here and never seen again. */
export function Variables({ place }: { place: Place }) {
  const t = useText();
  const key = partKey(place, 'variables');
  const { data, error, refetch } = useData(key, () => getVariables(place));
  const [open, setOpen] = useState<{ dialog: 'paste' } | { dialog: 'replace' | 'remove'; variable: Variable }>();
  const [apply, setApply] = useState(true);
  const change = useAction((body: VariablesChange) => changeVariables(place, { ...body, apply }), {
    stale: [key],
    success: t('projects:variables.saved'),
    quiet: true,
    onSuccess: () => setOpen(undefined),
  });
  const close = () => {
    change.reset();
    setOpen(undefined);
  };
  const items = data?.items ?? [];
  return (
    <Section
      title={t('projects:variables.title')}
      lead={t('projects:variables.lead')}
      flush
      actions={
        <Button variant="default" onClick={() => setOpen({ dialog: 'paste' })}>
          {t('projects:variables.paste')}
        </Button>
      }
    >
      <AddForm key={data?.version} change={change} open={open === undefined} />
      <div className={classes.apply}>
        <Checkbox
          label={t('projects:variables.apply')}
          checked={apply}
          onChange={(event) => setApply(event.target.checked)}
        />
      </div>
      {error && !data && <LoadFailed problem={error} retry={refetch} />}
      {!error && !data && <Bones rows={3} height={44} />}
      {data && items.length === 0 && (
        <Empty title={t('projects:variables.empty')} hint={t('projects:variables.emptyHint')} />
      )}
      {items.length > 0 && (
        <VariableTable
          items={items}
          onReplace={(variable) => setOpen({ dialog: 'replace', variable })}
          onRemove={(variable) => setOpen({ dialog: 'remove', variable })}
        />
      )}
      {open?.dialog === 'paste' && (
        <PasteDialog
          problem={change.error}
          busy={change.isPending}
          onSave={(variables) => change.mutate({ set: variables })}
          onClose={close}
        />
      )}
      {open?.dialog === 'replace' && <ReplaceDialog variable={open.variable} change={change} onClose={close} />}
      {open?.dialog === 'remove' && (
        <Confirm
          title={t('projects:variables.removeTitle', { name: open.variable.name })}
          hint={apply ? t('projects:variables.removeHint') : undefined}
          confirm={t('projects:variables.remove')}
          danger
          busy={change.isPending}
          problem={change.error}
          onConfirm={() => change.mutate({ unset: [open.variable.name] })}
          onClose={close}
        />
      )}
    </Section>
  );
}

type Change = Pick<ReturnType<typeof useAction<VariablesChange>>, 'mutate' | 'isPending' | 'error'>;

function AddForm({ change, open }: { change: Change; open: boolean }) {
  const t = useText();
  const [name, setName] = useState('');
  const bad = name !== '' && !variableName.test(name);
  return (
    <form
      className={classes.add}
      onSubmit={(event) => {
        event.preventDefault();
        const form = new FormData(event.currentTarget);
        change.mutate({
          set: [{ name, value: String(form.get('value') ?? ''), build: form.get('build') === 'on' }],
        });
      }}
    >
      <TextInput
        label={t('projects:variables.name')}
        placeholder="DATABASE_URL"
        value={name}
        onChange={(event) => setName(event.target.value)}
        error={bad && t('projects:variables.badName')}
        required
        maxLength={128}
        autoComplete="off"
        spellCheck={false}
      />
      <PasswordInput
        name="value"
        label={t('projects:variables.value')}
        autoComplete="new-password"
        visibilityToggleButtonProps={{ 'aria-label': t('identity:field.show') }}
      />
      <Checkbox name="build" label={t('projects:variables.build')} className={classes.build} />
      <Button type="submit" disabled={bad || name === ''} loading={change.isPending && open}>
        {t('projects:variables.add')}
      </Button>
      {change.error && open && (
        <div className={classes.problem}>
          <ProblemBox problem={change.error} />
        </div>
      )}
    </form>
  );
}

interface VariableTableProps {
  items: Variable[];
  onReplace: (variable: Variable) => void;
  onRemove: (variable: Variable) => void;
}

function VariableTable({ items, onReplace, onRemove }: VariableTableProps) {
  const t = useText();
  const format = useFormat();
  const now = useNow(30_000);
  return (
    <DataTable
      label={t('projects:variables.title')}
      rows={items}
      rowKey={(variable) => variable.name}
      columns={[
        {
          label: t('projects:variables.name'),
          cell: (variable) => (
            <span className={classes.named}>
              <code>{variable.name}</code>
              {variable.build && <Pill tone="busy">{t('projects:variables.buildBadge')}</Pill>}
            </span>
          ),
        },
        {
          label: t('projects:variables.value'),
          cell: () => (
            <span className={classes.dim} title={t('projects:variables.hidden')}>
              ••••••••
            </span>
          ),
        },
        {
          label: t('projects:variables.updated'),
          cell: (variable) => <span className={classes.dim}>{format.ago(variable.updated_at, now)}</span>,
        },
        {
          label: t('common:table.actions'),
          actions: true,
          cell: (variable) => (
            <span className={classes.buttons}>
              <Button
                size="xs"
                variant="default"
                aria-label={`${t('projects:variables.replace')}: ${variable.name}`}
                onClick={() => onReplace(variable)}
              >
                {t('projects:variables.replace')}
              </Button>
              <Button
                size="xs"
                variant="default"
                aria-label={`${t('projects:variables.remove')}: ${variable.name}`}
                onClick={() => onRemove(variable)}
              >
                {t('projects:variables.remove')}
              </Button>
            </span>
          ),
        },
      ]}
    />
  );
}

interface ReplaceDialogProps {
  variable: Variable;
  change: Change;
  onClose: () => void;
}

function ReplaceDialog({ variable, change, onClose }: ReplaceDialogProps) {
  const t = useText();
  const [value, setValue] = useState('');
  return (
    <Confirm
      title={t('projects:variables.replaceTitle', { name: variable.name })}
      confirm={t('projects:variables.replace')}
      busy={change.isPending}
      problem={change.error}
      onConfirm={() => change.mutate({ set: [{ name: variable.name, value, build: variable.build }] })}
      onClose={onClose}
    >
      <PasswordInput
        label={t('projects:variables.value')}
        value={value}
        onChange={(event) => setValue(event.target.value)}
        autoComplete="new-password"
        autoFocus
        visibilityToggleButtonProps={{ 'aria-label': t('identity:field.show') }}
      />
    </Confirm>
  );
}
