import { Module, type DynamicModule, type Provider, type Type } from '@nestjs/common';
import { CLOCK, EVENTS, GATEWAY, LOGGER, MEMBERS, OPERATIONS, REPLICA, SERVER, type Gateway } from '#http-kit';
import { TRUST_SETTINGS } from '#identities/http';
import type { GatewayContext } from './app.js';
import { trustSettings } from './trust-settings.js';

/** The http wings that this process serves, with what the process offers to them. */
@Module({})
export class GatewayModule {
  static of(context: GatewayContext, gateway: Gateway): DynamicModule {
    const offered: [symbol, unknown][] = [
      [REPLICA, context.replica],
      [MEMBERS, context.members],
      [EVENTS, context.events],
      [OPERATIONS, context.operations],
      [SERVER, context.server],
      [CLOCK, context.clock],
      [LOGGER, context.log],
      [GATEWAY, gateway],
      [TRUST_SETTINGS, trustSettings(context)],
    ];
    return {
      module: GatewayModule,
      controllers: context.controllers as Type[],
      providers: [...offered.map(([provide, useValue]): Provider => ({ provide, useValue })), ...(context.providers ?? [])],
    };
  }
}
