import { Button } from '@mantine/core';
import { useEffect, useRef, useState } from 'react';
import { useText } from '../i18n';
import classes from './Copy.module.css';
import { CheckIcon, CopyIcon } from './icons';

/** Copies a text; says so. Pages on plain http:// have no clipboard API, there the selection is copied. */
export async function copy(value: string, field: HTMLElement | null): Promise<boolean> {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(value);
    return true;
  }
  if (!field) return false;
  const selection = getSelection();
  selection?.selectAllChildren(field);
  return document.execCommand('copy');
}

/** A text to take along: a token, a command. */
export function CopyField({ value, label }: { value: string; label: string }) {
  const t = useText();
  const field = useRef<HTMLElement>(null);
  const [done, setDone] = useState(false);
  useEffect(() => {
    if (!done) return;
    const timer = setTimeout(() => setDone(false), 2000);
    return () => clearTimeout(timer);
  }, [done]);
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset would announce a form
    <div className={classes.field} role="group" aria-label={label}>
      <code ref={field}>{value}</code>
      <Button
        size="xs"
        variant="default"
        leftSection={done ? <CheckIcon size={14} /> : <CopyIcon size={14} />}
        onClick={() => void copy(value, field.current).then(setDone)}
      >
        <span aria-live="polite">{done ? t('common:action.copied') : t('common:action.copy')}</span>
      </Button>
    </div>
  );
}
