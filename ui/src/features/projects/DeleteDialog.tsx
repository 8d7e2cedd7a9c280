import { useAction, useData } from '@kit/api/query';
import type { Project } from '@kit/api/types';
import { useText } from '@kit/i18n';
import { Confirm } from '@kit/ui/Dialog';
import { Radio, TextInput } from '@mantine/core';
import { useState } from 'react';
import { deleteProject, getVolumes, type Place, partKey, projectsKey } from './api';
import classes from './Settings.module.css';

interface DeleteDialogProps {
  project: Project;
  place: Place;
  onDeleted: () => void;
  onClose: () => void;
}

/** Asks for the name, and what shall happen to data when there is any. */
export function DeleteDialog({ project, place, onDeleted, onClose }: DeleteDialogProps) {
  const t = useText();
  const [typed, setTyped] = useState('');
  const [choice, setChoice] = useState<'keep' | 'delete'>();
  const volumes = useData(partKey(place, 'volumes'), () => getVolumes(place));
  const items = volumes.data?.items ?? [];
  const remove = useAction(() => deleteProject(project.id, choice), {
    stale: [projectsKey],
    success: t('projects:settings.deleting', { name: project.name }),
    quiet: true,
    onSuccess: onDeleted,
  });
  // Other environments may have volumes that this list does not show; then the server asks.
  const asks = items.length > 0 || remove.error?.code === 'volumes_ask';
  return (
    <Confirm
      title={t('projects:settings.deleteTitle', { name: project.name })}
      hint={t('projects:settings.dangerHint')}
      confirm={t('projects:settings.delete')}
      danger
      busy={remove.isPending}
      problem={remove.error}
      disabled={typed !== project.slug || volumes.isPending || (asks && choice === undefined)}
      onConfirm={() => remove.mutate()}
      onClose={onClose}
    >
      {asks && (
        <div>
          {items.length > 0 && (
            <>
              <p style={{ margin: '0 0 4px' }}>{t('projects:settings.volumes', { count: items.length })}</p>
              <ul className={classes.volumes}>
                {items.map((volume) => (
                  <li key={volume.id}>
                    {volume.service}/{volume.name}
                  </li>
                ))}
              </ul>
            </>
          )}
          <Radio.Group
            label={t('projects:settings.volumesChoice')}
            value={choice ?? null}
            onChange={(value) => setChoice(value as 'keep' | 'delete')}
            mt="sm"
          >
            <div className={classes.choices}>
              <Radio value="keep" label={t('projects:settings.volumesKeep')} />
              <Radio value="delete" label={t('projects:settings.volumesDelete')} />
            </div>
          </Radio.Group>
        </div>
      )}
      <TextInput
        label={t('projects:settings.deleteType', { slug: project.slug })}
        value={typed}
        onChange={(event) => setTyped(event.target.value)}
        autoComplete="off"
        spellCheck={false}
      />
    </Confirm>
  );
}
