import common from './common.json';
import identity from './identity.json';
import problems from './problems.json';

/** Texts of the first screens: what one sees before having signed in. */
export default { common, identity, problems };
