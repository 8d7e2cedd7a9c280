import { useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { CreateProject } from '../../features/projects/CreateProject';
import { keepArchive, waitingArchive } from '../pending';

/** A new project; an archive that was dropped before goes along to it. */
export function CreateScreen() {
  const navigate = useNavigate();
  const [archive] = useState(() => waitingArchive());
  return (
    <CreateProject
      archive={archive?.name}
      onCreated={(project) => {
        keepArchive(archive, project.slug);
        void navigate({ to: '/projects/$project', params: { project: project.slug } });
      }}
    />
  );
}
