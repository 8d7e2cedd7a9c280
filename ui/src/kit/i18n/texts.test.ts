import { describe, expect, it } from 'vitest';
import { languages, preferredLanguage, switchLanguage, text } from '.';
import { told } from './problem';

const files = import.meta.glob<Record<string, unknown>>('./locales/*/*.json', { eager: true, import: 'default' });
const forms: Record<string, string[]> = {
  en: ['one', 'other'],
  id: ['other'],
  ru: ['few', 'many', 'one', 'other'],
  zh: ['other'],
};

function flat(value: Record<string, unknown>, prefix = ''): Map<string, string> {
  const found = new Map<string, string>();
  for (const [key, each] of Object.entries(value)) {
    if (typeof each === 'string') found.set(prefix + key, each);
    else for (const [path, leaf] of flat(each as Record<string, unknown>, `${prefix}${key}.`)) found.set(path, leaf);
  }
  return found;
}

const textsOf = (language: string) => {
  const all = new Map<string, string>();
  for (const [path, content] of Object.entries(files)) {
    const [, , folder, file] = path.split('/');
    if (folder !== language) continue;
    for (const [key, value] of flat(content)) all.set(`${file?.replace('.json', '')}:${key}`, value);
  }
  return all;
};

const stem = (key: string) => key.replace(/_(zero|one|two|few|many|other)$/, '');
const stems = (language: string) => [...new Set([...textsOf(language).keys()].map(stem))].sort();
const holes = (value: string) => [...value.matchAll(/{{(\w+)}}/g)].map((match) => match[1] ?? '').sort();

describe.each(languages)('%s', (language) => {
  it('has every key of English and no other', () => {
    expect(stems(language)).toEqual(stems('en'));
  });

  it('has every plural form that its grammar needs', () => {
    expect(new Intl.PluralRules(language).resolvedOptions().pluralCategories.toSorted()).toEqual(forms[language]);
    const counted = new Set([...textsOf('en').keys()].filter((key) => key !== stem(key)).map(stem));
    const all = [...textsOf(language).keys()];
    for (const key of counted) {
      const has = all.filter((each) => stem(each) === key).map((each) => each.slice(key.length + 1));
      expect({ key, has: has.toSorted() }).toEqual({ key, has: forms[language] });
    }
  });

  it('fills the same holes as English', () => {
    const english = textsOf('en');
    for (const [key, value] of textsOf(language)) {
      const same = english.get(key) ?? english.get(`${stem(key)}_other`) ?? '';
      expect({ key, holes: holes(value) }).toEqual({ key, holes: holes(same) });
    }
  });

  it('leaves nothing empty', () => {
    for (const [key, value] of textsOf(language))
      expect({ key, empty: value.trim() === '' }).toEqual({ key, empty: false });
  });
});

describe('the language to begin with', () => {
  it.each([
    [null, ['de-DE', 'ru-RU', 'en'], 'ru'],
    [null, ['zh-Hant-TW'], 'zh'],
    [null, ['in-ID'], 'id'],
    [null, ['fr'], 'en'],
    ['id', ['ru'], 'id'],
    ['xx', ['ru'], 'ru'],
  ])('stored %s, browser %s: %s', (stored, wanted, language) => {
    expect(preferredLanguage(stored, wanted)).toBe(language);
  });
});

it('counts as each language does', async () => {
  await switchLanguage('ru');
  const lines = [1, 3, 5, 21].map((count) => text('deployments:logs.lines', { count }));
  expect(lines).toEqual(['1 строка', '3 строки', '5 строк', '21 строка']);
  expect(document.documentElement.lang).toBe('ru');
  await switchLanguage('en');
});

it('tells a problem by its code, and by its own sentence when the code is new', () => {
  const parameters = { slug: 'shop', suggestion: 'shop-2' };
  expect(told({ code: 'slug_taken', message: 'Taken.', parameters })).toBe('shop is already taken. shop-2 is free.');
  expect(told({ code: 'slug_taken', message: 'You have it already.', parameters: { slug: 'shop' } })).toBe(
    'You have it already.',
  );
  expect(told({ code: 'never_heard_of', message: 'The moon is full.' })).toBe('The moon is full.');
});
