// Make the results of `promptfoo/` (npm install promptfoo): two scripted providers, three repeats.
//
// node promptfoo_results.js FOLDER
const fs = require('fs');
const promptfoo = require('promptfoo').default;

const right = { 'What is 9 + 9?': '18', 'What is 20 - 5?': '15', 'What is 6 * 7?': '42' };
const replies = {
  small: { 'What is 9 + 9?': ['18', '18.00', '19'], 'What is 20 - 5?': ['15', '15', '14'], 'What is 6 * 7?': ['42', '41', '42'] },
  large: { 'What is 9 + 9?': ['18', '18', '18'], 'What is 20 - 5?': ['15', '14', '15'], 'What is 6 * 7?': ['42', '42', '42'] },
};
const provider = (name) => {
  const asked = {};
  return {
    label: name,
    id: () => `scripted:${name}`,
    callApi: async (prompt) => {
      asked[prompt] = (asked[prompt] || 0) + 1;
      return {
        output: replies[name][prompt][asked[prompt] - 1],
        tokenUsage: { total: 10, prompt: 8, completion: 2 },
        cost: 0.0001,
        finishReason: 'stop',
      };
    },
  };
};

(async () => {
  const evaluated = await promptfoo.evaluate(
    {
      prompts: ['{{question}}'],
      providers: [provider('small'), provider('large')],
      tests: Object.entries(right).map(([question, value]) => ({
        vars: { question },
        assert: [{ type: 'equals', value }],
      })),
    },
    { repeat: 3, maxConcurrency: 1, cache: false },
  );
  const results = await evaluated.toEvaluateSummary();
  for (const result of results.results) delete result.tokenUsage; // the response has it too
  fs.writeFileSync(`${process.argv[2]}/results.json`, JSON.stringify({ evalId: evaluated.id, results }, null, 1) + '\n');
  process.exit(0);
})();
