import { useAction, usePages } from '@kit/api/query';
import type { Deployment, Upload } from '@kit/api/types';
import { useFormat } from '@kit/format';
import { useText } from '@kit/i18n';
import { DataTable } from '@kit/ui/DataTable';
import { Confirm } from '@kit/ui/Dialog';
import { DownloadIcon, TrashIcon } from '@kit/ui/icons';
import { Section } from '@kit/ui/Section';
import { Bones, Empty, LoadFailed } from '@kit/ui/States';
import { Button } from '@mantine/core';
import { useState } from 'react';
import { deleteUpload, deploy, environmentKey, getUploads, type Place, uploadsKey, uploadUrl } from './api';
import classes from './DeploymentList.module.css';
import { DetectedBox } from './Detected';

interface UploadsProps {
  place: Place;
  onDeployed: (deployment: Deployment) => void;
}

/** The archives of a project: take them back, put them away, deploy them again. */
export function Uploads({ place, onDeployed }: UploadsProps) {
  const t = useText();
  const format = useFormat();
  const key = uploadsKey(place.project);
  const { items, error, refetch, more, loadMore, loadingMore } = usePages<Upload>(key, (cursor) =>
    getUploads(place.project, cursor),
  );
  const [removing, setRemoving] = useState<Upload>();
  const start = useAction((upload: Upload) => deploy(place, { upload_id: upload.id }), {
    stale: [environmentKey(place)],
    onSuccess: onDeployed,
  });
  const remove = useAction((upload: Upload) => deleteUpload(upload.id), {
    stale: [key],
    success: t('deployments:uploads.deleted', { name: removing?.filename }),
    quiet: true,
    onSuccess: () => setRemoving(undefined),
  });
  return (
    <Section title={t('deployments:uploads.title')} lead={t('deployments:uploads.lead')} flush>
      {error && !items && <LoadFailed problem={error} retry={refetch} />}
      {!error && !items && <Bones rows={3} height={60} />}
      {items?.length === 0 && (
        <Empty title={t('deployments:uploads.empty')} hint={t('deployments:uploads.emptyHint')} />
      )}
      {items && items.length > 0 && (
        <DataTable
          label={t('deployments:uploads.title')}
          rows={items}
          rowKey={(upload) => upload.id}
          columns={[
            { label: t('deployments:uploads.file'), cell: (upload) => <strong>{upload.filename}</strong> },
            {
              label: t('deployments:uploads.contents'),
              wide: true,
              cell: (upload) => <DetectedBox detected={upload.detected} />,
            },
            {
              label: t('deployments:uploads.size'),
              cell: (upload) => (
                <span className={classes.dim}>
                  {format.bytes(upload.size)} · {t('deployments:uploads.entries', { count: upload.entries })}
                </span>
              ),
            },
            {
              label: t('deployments:uploads.when'),
              cell: (upload) => <span className={classes.dim}>{format.dateTime(upload.created_at)}</span>,
            },
            {
              label: t('common:table.actions'),
              actions: true,
              cell: (upload) => (
                <span className={classes.buttons}>
                  <Button
                    size="xs"
                    disabled={upload.detected.kind === 'none'}
                    loading={start.isPending && start.variables.id === upload.id}
                    aria-label={t('deployments:uploads.deployName', { name: upload.filename })}
                    onClick={() => start.mutate(upload)}
                  >
                    {t('deployments:uploads.deploy')}
                  </Button>
                  <Button
                    size="xs"
                    variant="default"
                    component="a"
                    href={uploadUrl(upload.id)}
                    download={upload.filename}
                    aria-label={t('deployments:uploads.downloadName', { name: upload.filename })}
                  >
                    <DownloadIcon size={14} />
                  </Button>
                  <Button
                    size="xs"
                    variant="default"
                    aria-label={t('deployments:uploads.deleteName', { name: upload.filename })}
                    onClick={() => setRemoving(upload)}
                  >
                    <TrashIcon size={14} />
                  </Button>
                </span>
              ),
            },
          ]}
        />
      )}
      {more && (
        <div className={classes.more}>
          <Button variant="default" onClick={loadMore} loading={loadingMore}>
            {t('common:action.more')}
          </Button>
        </div>
      )}
      {removing && (
        <Confirm
          title={t('deployments:uploads.deleteTitle', { name: removing.filename })}
          hint={t('deployments:uploads.deleteHint')}
          confirm={t('common:action.delete')}
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
