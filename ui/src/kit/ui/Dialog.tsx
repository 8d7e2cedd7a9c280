import { Button } from '@mantine/core';
import { type ReactNode, useEffect, useId, useRef } from 'react';
import type { Problem } from '../api/problem';
import { useText } from '../i18n';
import classes from './Dialog.module.css';
import { CloseIcon } from './icons';
import { ProblemBox } from './ProblemBox';

interface DialogProps {
  title: string;
  onClose: () => void;
  children: ReactNode;
}

/** A dialog over the page; the browser keeps the focus in it and gives it back. It is open as long as it is drawn. */
export function Dialog({ title, onClose, children }: DialogProps) {
  const t = useText();
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const dialog = ref.current;
    dialog?.showModal();
    return () => dialog?.close();
  }, []);
  return (
    <dialog
      ref={ref}
      className={classes.dialog}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
    >
      <div className={classes.head}>
        <h2 id={id}>{title}</h2>
        <button type="button" className={classes.close} aria-label={t('common:action.close')} onClick={onClose}>
          <CloseIcon size={18} />
        </button>
      </div>
      {children}
    </dialog>
  );
}

interface ConfirmProps {
  title: string;
  hint?: string;
  confirm: string;
  dismiss?: string;
  danger?: boolean;
  busy: boolean;
  problem?: Problem | null;
  disabled?: boolean;
  onConfirm: () => void;
  onClose: () => void;
  children?: ReactNode;
}

/** A question before something that is hard to undo. */
export function Confirm(props: ConfirmProps) {
  const t = useText();
  return (
    <Dialog title={props.title} onClose={props.onClose}>
      <form
        className={classes.body}
        onSubmit={(event) => {
          event.preventDefault();
          props.onConfirm();
        }}
      >
        {props.hint && <p className={classes.hint}>{props.hint}</p>}
        {props.children}
        {props.problem && <ProblemBox problem={props.problem} />}
        <div className={classes.foot}>
          <Button variant="default" onClick={props.onClose}>
            {props.dismiss ?? t('common:action.cancel')}
          </Button>
          <Button
            type="submit"
            color={props.danger ? 'red.8' : undefined}
            loading={props.busy}
            disabled={props.disabled}
          >
            {props.confirm}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
