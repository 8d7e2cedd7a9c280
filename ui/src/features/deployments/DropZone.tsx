import { asProblem, type Problem } from '@kit/api/problem';
import { useAction } from '@kit/api/query';
import type { Deployment, Upload } from '@kit/api/types';
import { type Sending, sendUpload } from '@kit/api/upload';
import { useFormat } from '@kit/format';
import { useText } from '@kit/i18n';
import { BoxIcon, UploadIcon } from '@kit/ui/icons';
import { ProblemBox } from '@kit/ui/ProblemBox';
import { Section } from '@kit/ui/Section';
import { Button, TextInput } from '@mantine/core';
import { useQueryClient } from '@tanstack/react-query';
import { useEffect, useId, useRef, useState } from 'react';
import { deploy, environmentKey, type Place, uploadsKey } from './api';
import { DetectedBox } from './Detected';
import classes from './DropZone.module.css';

const archives = '.zip,.tar.gz,.tgz,application/zip,application/gzip';
const isArchive = (name: string) => /\.(zip|tgz|tar\.gz)$/i.test(name);

type Step =
  | { is: 'idle' }
  | { is: 'chosen'; file: File }
  | { is: 'sending'; file: File; share: number; sending: Sending }
  | { is: 'uploaded'; upload: Upload };

interface DropZoneProps {
  place: Place;
  /** An archive that was chosen before this page was there. */
  initial?: File;
  onDeployed: (deployment: Deployment) => void;
}

/** Sends an archive, with or without deploying it, or deploys an image. */
export function DropZone({ place, initial, onDeployed }: DropZoneProps) {
  const t = useText();
  const client = useQueryClient();
  const [step, setStep] = useState<Step>(initial ? { is: 'chosen', file: initial } : { is: 'idle' });
  const [problem, setProblem] = useState<Problem>();
  const begin = useAction((uploadId: string) => deploy(place, { upload_id: uploadId }), {
    stale: [environmentKey(place)],
    quiet: true,
    onSuccess: onDeployed,
  });
  const running = useRef<Sending>(undefined);
  // Leaving the page stops a transfer that nobody would see the end of.
  useEffect(() => () => running.current?.cancel(), []);

  const choose = (file: File | undefined) => {
    begin.reset();
    setProblem(undefined);
    if (file) setStep({ is: 'chosen', file });
  };
  const send = async (file: File, thenDeploy: boolean) => {
    setProblem(undefined);
    const sending = sendUpload(place.project, file, (share) =>
      setStep((now) => (now.is === 'sending' ? { ...now, share } : now)),
    );
    running.current = sending;
    setStep({ is: 'sending', file, share: 0, sending });
    try {
      const upload = await sending.result;
      void client.invalidateQueries({ queryKey: uploadsKey(place.project) });
      setStep({ is: 'uploaded', upload });
      // What is wrong with it stands there already; asking would only be refused for the same reasons.
      if (thenDeploy && upload.detected.kind !== 'none') begin.mutate(upload.id);
    } catch (error) {
      const failed = asProblem(error);
      if (failed.code !== 'upload_stopped') setProblem(failed);
      setStep({ is: 'chosen', file });
    } finally {
      running.current = undefined;
    }
  };

  return (
    <Section title={t('deployments:drop.title')}>
      <div className={classes.zone}>
        {step.is === 'idle' && <Target onFile={choose} />}
        {step.is === 'chosen' && (
          <Chosen
            file={step.file}
            onSend={(thenDeploy) => void send(step.file, thenDeploy)}
            onBack={() => {
              setProblem(undefined);
              setStep({ is: 'idle' });
            }}
          />
        )}
        {step.is === 'sending' && (
          <Progress name={step.file.name} share={step.share} onStop={() => step.sending.cancel()} />
        )}
        {step.is === 'uploaded' && (
          <Uploaded
            upload={step.upload}
            busy={begin.isPending}
            onDeploy={() => begin.mutate(step.upload.id)}
            onBack={() => {
              begin.reset();
              setStep({ is: 'idle' });
            }}
          />
        )}
        {(problem ?? begin.error) && <ProblemBox problem={(problem ?? begin.error) as Problem} />}
        {step.is === 'idle' && <ImageForm place={place} onDeployed={onDeployed} />}
      </div>
    </Section>
  );
}

function Target({ onFile }: { onFile: (file: File | undefined) => void }) {
  const t = useText();
  const [over, setOver] = useState(false);
  const [bad, setBad] = useState(false);
  const input = useRef<HTMLInputElement>(null);
  const take = (file: File | undefined) => {
    const refused = file !== undefined && !isArchive(file.name);
    setBad(refused);
    if (file && !refused) onFile(file);
  };
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: dropping is one way of two; the button does the same
    <div
      className={classes.target}
      data-over={over || undefined}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault();
        setOver(false);
        take(event.dataTransfer.files[0]);
      }}
    >
      <span className={classes.icon}>
        <UploadIcon size={24} />
      </span>
      <div>
        <p className={classes.lead}>
          {t('deployments:drop.zone')} <span className={classes.dim}>{t('deployments:drop.or')}</span>
        </p>
        <p className={bad ? classes.bad : classes.dim} role={bad ? 'alert' : undefined}>
          {bad ? t('deployments:drop.badType') : t('deployments:drop.hint')}
        </p>
      </div>
      <Button variant="default" onClick={() => input.current?.click()}>
        {t('deployments:drop.choose')}
      </Button>
      <input
        ref={input}
        type="file"
        accept={archives}
        aria-label={t('deployments:drop.file')}
        className={classes.file}
        tabIndex={-1}
        onChange={(event) => take(event.target.files?.[0])}
      />
    </div>
  );
}

interface ChosenProps {
  file: File;
  onSend: (thenDeploy: boolean) => void;
  onBack: () => void;
}

function Chosen({ file, onSend, onBack }: ChosenProps) {
  const t = useText();
  const format = useFormat();
  return (
    <div className={classes.chosen}>
      <BoxIcon size={26} />
      <div className={classes.grow}>
        <strong>{file.name}</strong>
        <span className={classes.dim}>{format.bytes(file.size)}</span>
      </div>
      <div className={classes.buttons}>
        <Button variant="subtle" onClick={onBack}>
          {t('deployments:drop.another')}
        </Button>
        <Button variant="default" onClick={() => onSend(false)}>
          {t('deployments:drop.upload')}
        </Button>
        <Button onClick={() => onSend(true)}>{t('deployments:drop.uploadDeploy')}</Button>
      </div>
    </div>
  );
}

function Progress({ name, share, onStop }: { name: string; share: number; onStop: () => void }) {
  const t = useText();
  const format = useFormat();
  const id = useId();
  return (
    <div className={classes.sending}>
      <div className={classes.row}>
        <strong id={id}>{t('deployments:drop.sending', { name })}</strong>
        <span className={classes.dim}>
          {share < 1 ? t('deployments:drop.sent', { share: format.percent(share) }) : t('deployments:drop.checking')}
        </span>
      </div>
      <progress aria-labelledby={id} max={1} value={share < 1 ? share : undefined} />
      <div>
        <Button size="xs" variant="default" onClick={onStop}>
          {t('deployments:drop.stop')}
        </Button>
      </div>
    </div>
  );
}

interface UploadedProps {
  upload: Upload;
  busy: boolean;
  onDeploy: () => void;
  onBack: () => void;
}

function Uploaded({ upload, busy, onDeploy, onBack }: UploadedProps) {
  const t = useText();
  return (
    <div className={classes.sending}>
      <strong role="status">{t('deployments:drop.uploaded', { name: upload.filename })}</strong>
      <DetectedBox detected={upload.detected} />
      <div className={classes.buttons}>
        <Button variant="subtle" onClick={onBack}>
          {t('deployments:drop.another')}
        </Button>
        <Button loading={busy} disabled={upload.detected.kind === 'none'} onClick={onDeploy}>
          {t('deployments:drop.deployNow')}
        </Button>
      </div>
    </div>
  );
}

function ImageForm({ place, onDeployed }: { place: Place; onDeployed: (deployment: Deployment) => void }) {
  const t = useText();
  const [image, setImage] = useState('');
  const run = useAction(() => deploy(place, { image: image.trim() }), {
    stale: [environmentKey(place)],
    quiet: true,
    onSuccess: onDeployed,
  });
  return (
    <>
      <form
        className={classes.image}
        onSubmit={(event) => {
          event.preventDefault();
          run.mutate();
        }}
      >
        <span className={classes.dim}>{t('deployments:drop.useImage')}</span>
        <TextInput
          aria-label={t('deployments:drop.image')}
          placeholder={t('deployments:drop.imagePlaceholder')}
          value={image}
          onChange={(event) => setImage(event.target.value)}
          maxLength={512}
          autoComplete="off"
          spellCheck={false}
          className={classes.grow}
        />
        <Button type="submit" variant="default" disabled={!image.trim()} loading={run.isPending}>
          {t('deployments:drop.deployImage')}
        </Button>
      </form>
      {run.error && <ProblemBox problem={run.error} />}
    </>
  );
}
