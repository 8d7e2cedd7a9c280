import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { constants, gzipSync } from 'node:zlib';
import react from '@vitejs/plugin-react';
import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';

// The binary serves these as they are, so no request pays for compression. The .keep file lets Go build without Node.
function compressed(): Plugin {
  return {
    name: 'pandu-compressed',
    apply: 'build',
    writeBundle(options) {
      const root = options.dir ?? 'dist';
      for (const name of readdirSync(root, { recursive: true, encoding: 'utf8' })) {
        if (!/\.(js|css|html|svg)$/.test(name)) continue;
        const file = join(root, name);
        writeFileSync(`${file}.gz`, gzipSync(readFileSync(file), { level: constants.Z_BEST_COMPRESSION }));
      }
      writeFileSync(join(root, '.keep'), '');
    },
  };
}

const api = process.env.PANDU_API ?? 'http://127.0.0.1:8080';
const proxy = { '/api': { target: api, changeOrigin: false } };

// What every page needs, the doors too.
const base =
  /node_modules\/(react|react-dom|scheduler|i18next|openapi-fetch)\/|src\/kit\/(i18n\/(index|problem)|i18n\/locales\/en\/(first|common|identity|problems)|api\/(client|problem)|ui\/(icons|ProblemBox|PlainField|tokens|scheme))|src\/app\/(Door|Crash)\.|src\/features\/identity\/(api|doors|DoorFrame|SignIn|Register|SetUp|useSetup)|vite\/(preload-helper|modulepreload)|rolldown\/runtime/;

// The dashboard's frame and its first page.
const first =
  /@mantine\/core\/styles\/(default|baseline|global|UnstyledButton|Loader|Button)|node_modules\/(@tanstack|@mantine\/core\/esm\/(core|components\/(Button|Loader|UnstyledButton|Transition))|@mantine\/hooks|use-sync-external-store|clsx)|src\/app\/(router|Frame|pending|changes|useChanges|screens\/(ProjectsScreen|NotFound))|src\/features\/(projects\/(ProjectList|api)|identity\/(Account|AccountButton|me)\.)|src\/kit\/(format|ui\/(Section|States|Status|Toasts|toasts|theme|styles)|api\/(query|live|stream|sse))/;

export default defineConfig({
  plugins: [react(), compressed()],
  resolve: { alias: { '@kit': fileURLToPath(new URL('./src/kit', import.meta.url)) } },
  server: { proxy },
  preview: { proxy },
  build: {
    manifest: true,
    target: 'es2023',
    // Few chunks instead of a crumb per component: what the doors need is the entry, behind it come the dashboard's
    // first page, a project's pages, and the rarely opened rest.
    rollupOptions: {
      output: {
        codeSplitting: {
          includeDependenciesRecursively: false,
          groups: [
            { name: 'base', test: base, priority: 3 },
            { name: 'dashboard', test: first, priority: 2 },
            {
              name: 'project',
              test: /node_modules\/@mantine\/core\/esm\/components\/(Input|InlineInput|NativeSelect|Checkbox|Radio|Switch|PasswordInput|Text|ActionIcon|Combobox)|src\/(features\/(projects|deployments)|app\/screens|kit\/ui\/(Dialog|DataTable|LogView|useLog|loglines|Copy|moreStyles))/,
            },
          ],
        },
      },
    },
  },
  test: { environment: 'jsdom', setupFiles: ['src/kit/testing/setup.ts'], restoreMocks: true, css: false },
});
