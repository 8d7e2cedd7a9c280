import { useAction } from '@kit/api/query';
import type { Deployment } from '@kit/api/types';
import { useText } from '@kit/i18n';
import { Confirm } from '@kit/ui/Dialog';
import { RestartIcon } from '@kit/ui/icons';
import { Button } from '@mantine/core';
import { useState } from 'react';
import { cancelDeployment, deploymentKey, retryDeployment } from './api';

interface ActionsProps {
  deployment: Deployment;
  onDeployed: (deployment: Deployment) => void;
  only?: 'retry';
}

/** What can be done to a deployment: cancel it before it is live, retry it after it failed. */
export function Actions({ deployment, onDeployed, only }: ActionsProps) {
  const t = useText();
  const [asking, setAsking] = useState(false);
  const cancel = useAction(() => cancelDeployment(deployment.id), {
    stale: [deploymentKey(deployment.id)],
    success: t('deployments:page.cancelled'),
    onSuccess: () => setAsking(false),
  });
  const retry = useAction(() => retryDeployment(deployment.id), {
    stale: [['project', deployment.project.slug]],
    onSuccess: onDeployed,
  });
  if (only === 'retry') {
    if (!deployment.retryable) return null;
    return (
      <Button leftSection={<RestartIcon size={15} />} loading={retry.isPending} onClick={() => retry.mutate()}>
        {t('deployments:page.retry')}
      </Button>
    );
  }
  return (
    <div>
      {deployment.cancellable && (
        <Button variant="default" onClick={() => setAsking(true)}>
          {t('deployments:page.cancel')}
        </Button>
      )}
      {deployment.retryable && !deployment.error && (
        <Button variant="default" loading={retry.isPending} onClick={() => retry.mutate()}>
          {t('deployments:page.retry')}
        </Button>
      )}
      {asking && deployment.cancellable && (
        <Confirm
          title={t('deployments:page.cancelTitle', { number: deployment.number })}
          hint={t('deployments:page.cancelHint')}
          confirm={t('deployments:page.cancel')}
          dismiss={t('deployments:page.keep')}
          danger
          busy={cancel.isPending}
          onConfirm={() => cancel.mutate()}
          onClose={() => setAsking(false)}
        />
      )}
    </div>
  );
}
