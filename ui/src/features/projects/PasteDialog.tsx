import type { Problem } from '@kit/api/problem';
import { useText } from '@kit/i18n';
import { Confirm } from '@kit/ui/Dialog';
import { Textarea } from '@mantine/core';
import { useMemo, useState } from 'react';
import { parseDotEnv } from './dotenv';
import classes from './Variables.module.css';

interface PasteDialogProps {
  problem: Problem | null;
  busy: boolean;
  onSave: (variables: { name: string; value: string }[]) => void;
  onClose: () => void;
}

/** Sets every variable of a pasted .env file at once. */
export function PasteDialog({ problem, busy, onSave, onClose }: PasteDialogProps) {
  const t = useText();
  const [pasted, setPasted] = useState('');
  const { variables, badLine } = useMemo(() => parseDotEnv(pasted), [pasted]);
  return (
    <Confirm
      title={t('projects:variables.pasteTitle')}
      hint={t('projects:variables.pasteHint')}
      confirm={t('projects:variables.pasteSave')}
      busy={busy}
      problem={problem}
      disabled={variables.length === 0}
      onConfirm={() => onSave(variables)}
      onClose={onClose}
    >
      <Textarea
        className={classes.paste}
        label={t('projects:variables.pasteField')}
        rows={9}
        value={pasted}
        onChange={(event) => setPasted(event.target.value)}
        error={badLine !== undefined && t('projects:variables.pasteBad', { line: badLine })}
        autoComplete="off"
        spellCheck={false}
        placeholder={'DATABASE_URL=postgres://…\nSECRET_KEY="…"'}
      />
      <span className={classes.dim} aria-live="polite">
        {t('projects:variables.pasteFound', { count: variables.length })}
      </span>
    </Confirm>
  );
}
