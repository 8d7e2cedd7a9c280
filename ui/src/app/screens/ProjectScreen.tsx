import { useText } from '@kit/i18n';
import { told } from '@kit/i18n/problem';
import { Bone, LoadFailed } from '@kit/ui/States';
import { Link, Outlet, useLocation, useNavigate } from '@tanstack/react-router';
import { useEffect, useRef } from 'react';
import { Newest } from '../../features/deployments/Newest';
import { ProjectHeader } from '../../features/projects/ProjectHeader';
import classes from './ProjectScreen.module.css';
import { useEnvironment, usePlace, useProject } from './usePlace';

const tabs = [
  ['/projects/$project', 'overview'],
  ['/projects/$project/deployments', 'deployments'],
  ['/projects/$project/logs', 'logs'],
  ['/projects/$project/variables', 'variables'],
  ['/projects/$project/releases', 'releases'],
  ['/projects/$project/domains', 'domains'],
  ['/projects/$project/uploads', 'uploads'],
  ['/projects/$project/settings', 'settings'],
] as const;

/** Head and sections of one project. */
export function ProjectScreen() {
  const t = useText();
  const navigate = useNavigate();
  const place = usePlace();
  const project = useProject(place);
  const environment = useEnvironment(place);
  const nav = useRef<HTMLElement>(null);
  const path = useLocation({ select: (location) => location.pathname });
  // On a narrow screen the sections scroll sideways: the one that is open must be in sight.
  // biome-ignore lint/correctness/useExhaustiveDependencies: the path decides which section is open
  useEffect(() => {
    const open = nav.current?.querySelector<HTMLElement>('[data-active]');
    if (open && nav.current) nav.current.scrollLeft = open.offsetLeft - nav.current.clientWidth / 3;
  }, [path]);
  const problem = project.error ?? environment.error;
  if (problem && !(project.data && environment.data)) {
    return (
      <div className={classes.gone}>
        <LoadFailed
          problem={problem}
          retry={() => {
            void project.refetch();
            void environment.refetch();
          }}
        />
        <Link to="/">{t('common:state.home')}</Link>
      </div>
    );
  }
  const warnings = environment.data?.warnings ?? [];
  return (
    <>
      {project.data ? (
        <ProjectHeader
          project={project.data}
          environment={environment.data}
          place={place}
          newest={<Newest project={place.project} deployment={environment.data?.deployment ?? null} />}
          onEnvironment={(slug) =>
            void navigate({
              to: '/projects/$project',
              params: { project: place.project },
              search: { environment: slug },
            })
          }
        />
      ) : (
        <div className={classes.bones}>
          <Bone width={240} height={36} />
          <Bone width={320} height={20} />
        </div>
      )}
      <nav ref={nav} aria-label={t('projects:header.sections')} className={classes.tabs}>
        {tabs.map(([to, name]) => (
          <Link
            key={name}
            to={to}
            params={{ project: place.project }}
            search
            activeOptions={{ exact: name === 'overview', includeSearch: false }}
            activeProps={{ 'data-active': true }}
          >
            {t(`projects:tab.${name}`)}
          </Link>
        ))}
      </nav>
      {warnings.map((warning) => (
        <p key={warning.code + warning.message} className={classes.warning} role="status">
          {told(warning)}
        </p>
      ))}
      <Outlet />
    </>
  );
}
