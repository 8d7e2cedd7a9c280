// From "register" to "sign out", as a person goes who has never seen the panel.
import { join } from 'node:path';
import { ask, must, play, until } from './stage.mjs';

const { BROWSER_PANEL, BROWSER_ZIPS } = process.env;

const zip = (name) => join(BROWSER_ZIPS, name);
const slug = `harbour-${process.pid}`;

await play('journey', async (stage) => {
  const { page, context, step, expecting, accessible } = stage;
  const tab = (name) => page.getByRole('navigation', { name: 'Project sections' }).getByRole('link', { name });
  const becomes = (number, state) => page.getByRole('status').filter({ hasText: `Deployment ${number}: ${state}` }).first().waitFor({ state: 'attached' });
  const answer = async (path = '/') => {
    try {
      const got = await visitor.goto(site + path);
      return `${got.status()} ${await got.text()}`;
    } catch (error) {
      return String(error);
    }
  };
  const shows = (path, text) => until(page, () => answer(path), (got) => got.includes(text), `${text} at ${path}`);
  const drop = async (name) => {
    await tab('Overview').click();
    await page.getByLabel('Archive').setInputFiles(zip(name));
    await page.getByRole('button', { name: 'Upload and deploy' }).click();
  };
  let site = '';
  const visitor = await context.newPage();

  await step('register', async () => {
    await page.goto(`${BROWSER_PANEL}/register`);
    await accessible('register');
    await page.getByLabel('Name', { exact: true }).fill('Bima Pandu');
    await page.getByLabel('E-mail').fill(`bima-${process.pid}@example.org`);
    await page.getByLabel('Password', { exact: true }).fill('three-masts-and-a-sail');
    await page.getByRole('button', { name: 'Register' }).click();
    await page.getByText('Put your first project online').waitFor();
    await accessible('empty projects');
  });

  await step('a name that is taken, and one that is not', async () => {
    await page.getByRole('button', { name: 'Create a project' }).click();
    await page.getByLabel('Project name').fill('Admin');
    await page.getByText('admin is reserved.').waitFor();
    await page.getByLabel('Project name').fill('Harbour');
    await page.getByLabel('Subdomain').fill(slug);
    await page.getByText(`${slug}.localhost is available`).waitFor();
    await accessible('new project');
    await page.getByRole('button', { name: 'Create project' }).click();
    await page.getByRole('heading', { name: 'Harbour', level: 1 }).waitFor();
  });

  await step('drop a zip and read its build as it goes', async () => {
    await page.getByText('Nothing deployed yet').waitFor();
    await accessible('empty project');
    await drop('first.zip');
    await page.getByRole('heading', { name: 'Deployment 1' }).waitFor();
    const log = page.getByRole('log', { name: 'Build log' });
    const count = async () => (await log.isVisible()) ? (await log.innerText()).split('\n').length : 0;
    const early = await until(page, count, (n) => n > 5, 'the first lines of the log');
    await until(page, count, (n) => n > early + 3, 'more lines of the log');
    await becomes(1, 'Live');
    await accessible('a deployment');
  });

  await step('the site answers', async () => {
    site = await page.getByRole('main').getByRole('link', { name: new RegExp(slug) }).first().getAttribute('href');
    site = site.replace(/\/$/, '');
    must((await answer()).includes('The first harbour'), 'the site does not show what was deployed');
  });

  await step('two instances', async () => {
    await tab('Overview').click();
    await page.getByRole('button', { name: 'Scale or edit web' }).click();
    const dialog = page.getByRole('dialog', { name: 'Edit web' });
    await accessible('scale');
    await dialog.getByLabel('Replicas').fill('2');
    await dialog.getByRole('button', { name: 'Save and apply' }).click();
    const instances = page.getByRole('table', { name: 'Instances' }).getByRole('row').filter({ hasText: 'web #' });
    await until(page, () => instances.allInnerTexts(), (rows) => rows.filter((row) => /Running[^]*Ready[^]*Just now/.test(row)).length === 2, 'two ready instances');
    for (const heading of ['Desired', 'Observed', 'Last seen']) await page.getByRole('columnheader', { name: heading }).waitFor();
    await page.getByText('2 of 2 ready').waitFor();
    await accessible('overview');
  });

  await step('a variable reaches the service', async () => {
    await tab('Variables').click();
    await page.getByText('No variables yet').waitFor();
    await page.getByLabel('Variable name').fill('GREETING');
    await page.getByLabel('Value', { exact: true }).fill('selamat-datang');
    await page.getByRole('button', { name: 'Add variable' }).click();
    await page.getByRole('table', { name: 'Variables' }).getByText('GREETING').waitFor();
    await becomes(3, 'Live');
    await shows('/env?name=GREETING', 'selamat-datang');
    must(!(await page.getByRole('main').innerText()).includes('selamat-datang'), 'the page shows a value');
    await accessible('variables');
  });

  await step('a second version', async () => {
    await drop('second.zip');
    await page.getByRole('heading', { name: 'Deployment 4' }).waitFor();
    await becomes(4, 'Live');
    await shows('/', 'The second harbour');
  });

  await step('back to the first', async () => {
    await tab('Releases').click();
    await accessible('releases');
    await page.getByRole('button', { name: 'Roll back to release 1' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Roll back' }).click();
    await page.getByRole('heading', { name: 'Deployment 5' }).waitFor();
    await becomes(5, 'Live');
    await shows('/', 'The first harbour');
  });

  await step('stop', async () => {
    await page.getByRole('button', { name: 'Stop' }).click();
    await page.getByRole('dialog', { name: 'Stop Harbour?' }).getByRole('button', { name: 'Stop' }).click();
    await page.getByRole('button', { name: 'Start' }).waitFor();
    await until(page, () => answer(), (got) => got.startsWith('503'), 'an answer that says stopped');
  });

  await step('start', async () => {
    await page.getByRole('button', { name: 'Start' }).click();
    await page.getByRole('button', { name: 'Stop' }).waitFor();
    await shows('/', 'The first harbour');
  });

  await step('four languages', async () => {
    for (const [language, projects] of [['Bahasa Indonesia', 'Proyek'], ['Русский', 'Проекты'], ['简体中文', '项目'], ['English', 'Projects']]) {
      await page.getByRole('banner').getByRole('button').click();
      await page.getByRole('menuitem', { name: language }).click();
      await page.getByRole('banner').getByRole('link', { name: projects, exact: true }).waitFor();
      await page.reload();
      await page.getByRole('banner').getByRole('link', { name: projects, exact: true }).waitFor();
    }
  });

  await step('the panel goes away and comes back', async () => {
    await expecting(/ERR_|50[234]/, async () => {
      await ask('stop');
      await page.getByText('Connection lost. Trying again…').waitFor();
      must((await answer()).includes('The first harbour'), 'the site went away with the panel');
      await ask('start');
      await page.getByText('Connection lost. Trying again…').waitFor({ state: 'hidden' });
      await tab('Overview').click();
      await page.getByRole('table', { name: 'Instances' }).getByText('Just now').first().waitFor();
    });
  });

  await step('a deployment that fails says why', async () => {
    await drop('exits.zip');
    await page.getByRole('heading', { name: 'Deployment 8' }).waitFor();
    await becomes(8, 'Failed');
    const reason = page.getByRole('alert');
    await reason.getByText('The program ended with status 3.').waitFor();
    await reason.getByText('What to do').waitFor();
    await accessible('a failed deployment');
    await shows('/', 'The first harbour');
  });

  await step('delete the project', async () => {
    await tab('Settings').click();
    await accessible('settings');
    await page.getByRole('button', { name: 'Delete project' }).click();
    const dialog = page.getByRole('dialog', { name: 'Delete Harbour?' });
    await dialog.getByLabel(`Type ${slug} to confirm`).fill(slug);
    await dialog.getByRole('button', { name: 'Delete project' }).click();
    await page.getByText('Put your first project online').waitFor();
    await until(page, () => answer(), (got) => got.startsWith('421'), 'the end of the site');
  });

  await step('sign out', async () => {
    await page.getByRole('banner').getByRole('button').click();
    await page.getByRole('menuitem', { name: 'Sign out' }).click();
    await page.getByRole('heading', { name: 'Sign in' }).waitFor();
    await expecting(/401/, async () => {
      await page.goto(BROWSER_PANEL);
      await page.getByRole('heading', { name: 'Sign in' }).waitFor();
    });
  });
});
