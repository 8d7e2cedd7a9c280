import { Warnings } from '../features/system/Warnings';

/** What is wrong with the installation, above every page. */
export function Notices() {
  return <Warnings />;
}
