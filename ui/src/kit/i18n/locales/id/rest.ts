import deployments from './deployments.json';
import projects from './projects.json';
import servers from './servers.json';
import system from './system.json';

/** Texts of every other screen. */
export default { deployments, projects, servers, system };
