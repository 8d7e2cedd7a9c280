import { useNavigate } from '@tanstack/react-router';
import { ProjectList } from '../../features/projects/ProjectList';
import { keepArchive } from '../pending';

/** The first page. */
export function ProjectsScreen() {
  const navigate = useNavigate();
  return (
    <ProjectList
      onCreate={(file) => {
        keepArchive(file);
        void navigate({ to: '/projects/new' });
      }}
    />
  );
}
