import { type DoorName, nextPath } from '../features/identity/doors';
import { Register } from '../features/identity/Register';
import { SetUp } from '../features/identity/SetUp';
import { SignIn } from '../features/identity/SignIn';

const doors = { 'sign-in': SignIn, register: Register, setup: SetUp };

/** One of the pages before the sign-in. Going in loads the dashboard itself, which typing has already fetched. */
export function Door({ name }: { name: DoorName }) {
  const Page = doors[name];
  const enter = () => location.assign(name === 'setup' ? '/' : nextPath(location.search));
  return (
    <div onInputCapture={warm}>
      <Page done={enter} />
    </div>
  );
}

function warm() {
  void import('./Dashboard');
}
