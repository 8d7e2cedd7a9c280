// The door of the one-time link: it makes the first administrator, and opens once.
import { must, play } from './stage.mjs';

const { BROWSER_SETUP } = process.env;

await play('setup', async ({ page, step, expecting, accessible, context }) => {
  const fill = async () => {
    await page.getByLabel('Name').fill('Ayu Operator');
    await page.getByLabel('E-mail').fill('ayu@example.org');
    await page.getByLabel('Password', { exact: true }).fill('correct-horse-battery');
    await page.getByRole('button', { name: 'Create administrator' }).click();
  };

  await step('nobody can sign in yet', async () => {
    await page.goto(new URL('/sign-in', BROWSER_SETUP).href);
    await page.getByText('waits for its first administrator').waitFor();
    await accessible('sign in');
  });

  await step('a wrong link is refused', async () => {
    await page.goto(`${BROWSER_SETUP.split('#')[0]}#${'A'.repeat(43)}`);
    await expecting(/40[13]|409|422/, async () => {
      await fill();
      await page.getByRole('alert').filter({ hasText: 'This set-up link is not valid' }).waitFor();
    });
    await accessible('set up');
  });

  await step('the link makes the administrator', async () => {
    await page.goto('about:blank');
    await page.goto(BROWSER_SETUP);
    await fill();
    await page.getByRole('heading', { name: 'Projects' }).waitFor();
  });

  await step('the administrator sees the servers', async () => {
    await page.getByRole('link', { name: 'Servers' }).click();
    await page.getByRole('table').getByText('Ready').waitFor();
    await accessible('servers');
  });

  await step('the link is used up', async () => {
    await context.clearCookies();
    await page.goto('about:blank');
    await page.goto(BROWSER_SETUP);
    await page.getByText('Pandu is already set up.').waitFor();
    must((await page.getByRole('button', { name: 'Create administrator' }).count()) === 0, 'the form is still there');
  });
});
