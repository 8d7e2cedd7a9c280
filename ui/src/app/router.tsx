import { createRootRoute, createRoute, createRouter, lazyRouteComponent } from '@tanstack/react-router';
import { CrashPage } from './Crash';
import { Frame } from './Frame';
import { NotFound } from './screens/NotFound';
import { ProjectsScreen } from './screens/ProjectsScreen';

/** `environment` chooses one of a project's environments; without it, production. */
interface Search {
  environment?: string;
}

const root = createRootRoute({
  component: Frame,
  notFoundComponent: NotFound,
  errorComponent: CrashPage,
  validateSearch: (search: Record<string, unknown>): Search =>
    typeof search.environment === 'string' ? { environment: search.environment } : {},
});

const index = createRoute({ getParentRoute: () => root, path: '/', component: ProjectsScreen });
const create = createRoute({
  getParentRoute: () => root,
  path: '/projects/new',
  component: lazyRouteComponent(() => import('./screens/CreateScreen'), 'CreateScreen'),
});
const servers = createRoute({
  getParentRoute: () => root,
  path: '/servers',
  component: lazyRouteComponent(() => import('../features/servers/ServerList'), 'ServerList'),
});
const tokens = createRoute({
  getParentRoute: () => root,
  path: '/tokens',
  component: lazyRouteComponent(() => import('../features/identity/Tokens'), 'Tokens'),
});

const project = createRoute({
  getParentRoute: () => root,
  path: '/projects/$project',
  component: lazyRouteComponent(() => import('./screens/ProjectScreen'), 'ProjectScreen'),
});
const tabs = () => import('./screens/tabs');
const overview = createRoute({
  getParentRoute: () => project,
  path: '/',
  component: lazyRouteComponent(() => import('./screens/OverviewTab'), 'OverviewTab'),
});
const deployments = createRoute({
  getParentRoute: () => project,
  path: '/deployments',
  component: lazyRouteComponent(tabs, 'DeploymentsTab'),
});
const deployment = createRoute({
  getParentRoute: () => project,
  path: '/deployments/$deployment',
  component: lazyRouteComponent(() => import('./screens/DeploymentTab'), 'DeploymentTab'),
});
const logs = createRoute({
  getParentRoute: () => project,
  path: '/logs',
  component: lazyRouteComponent(() => import('./screens/LogsTab'), 'LogsTab'),
});
const variables = createRoute({
  getParentRoute: () => project,
  path: '/variables',
  component: lazyRouteComponent(tabs, 'VariablesTab'),
});
const releases = createRoute({
  getParentRoute: () => project,
  path: '/releases',
  component: lazyRouteComponent(tabs, 'ReleasesTab'),
});
const domains = createRoute({
  getParentRoute: () => project,
  path: '/domains',
  component: lazyRouteComponent(tabs, 'DomainsTab'),
});
const uploads = createRoute({
  getParentRoute: () => project,
  path: '/uploads',
  component: lazyRouteComponent(tabs, 'UploadsTab'),
});
const settings = createRoute({
  getParentRoute: () => project,
  path: '/settings',
  component: lazyRouteComponent(tabs, 'SettingsTab'),
});

export const router = createRouter({
  routeTree: root.addChildren([
    index,
    create,
    servers,
    tokens,
    project.addChildren([overview, deployments, deployment, logs, variables, releases, domains, uploads, settings]),
  ]),
  defaultPreload: 'intent',
  scrollRestoration: true,
});

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router;
  }
}
