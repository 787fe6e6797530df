export { TransferAgent, type TransferAgentOptions } from './agent.js';
