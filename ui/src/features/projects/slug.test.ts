import { expect, it } from 'vitest';
import { proposeSlug } from './slug';

it.each([
  ['My Shop!', 'my-shop'],
  ['  Café Élan  ', 'cafe-elan'],
  ['Документация', 'dokumentatsiya'],
  ['2024 report', 'report'],
  ['数据', ''],
  ['a'.repeat(60), 'a'.repeat(40)],
])('proposes for %s: %s', (name, slug) => {
  expect(proposeSlug(name)).toBe(slug);
});
