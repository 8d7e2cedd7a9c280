import { asProblem, type Problem } from '@kit/api/problem';
import { useEffect, useState } from 'react';
import { getSetup } from './api';

export type Setup = Awaited<ReturnType<typeof getSetup>>;

/** Where the installation stands; undefined until known. The doors are drawn before the query cache is loaded. */
export function useSetup() {
  const [setup, setSetup] = useState<Setup>();
  useEffect(() => {
    let here = true;
    getSetup().then(
      (value) => here && setSetup(value),
      () => undefined,
    );
    return () => {
      here = false;
    };
  }, []);
  return setup;
}

/** Sending a door's form: what went wrong, and whether it is under way. */
export function useSubmit(send: (form: FormData) => Promise<unknown>, done: () => void) {
  const [problem, setProblem] = useState<Problem>();
  const [busy, setBusy] = useState(false);
  const submit = async (form: FormData) => {
    setBusy(true);
    setProblem(undefined);
    try {
      await send(form);
      done();
    } catch (error) {
      setProblem(asProblem(error));
      setBusy(false);
    }
  };
  return { problem, busy, submit };
}

/** A field's text. */
export const field = (form: FormData, name: string) => String(form.get(name) ?? '').trim();

/** A password as it was typed: spaces at its ends belong to it. */
export const secret = (form: FormData, name: string) => String(form.get(name) ?? '');
